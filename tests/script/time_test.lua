-- tests/script/time_test.lua - clocks and timers.

local check = require "check"
local neap = require "neap"

local equal, guard, raises = check.equal, check.guard, check.raises
local test, test_later = check.test, check.test_later

-- Keeps the worker busy; every timer that falls due meanwhile is late.
local function work(seconds)
  local till = neap.now() + seconds
  repeat until neap.now() >= till
end

test("now goes on, and is read afresh", function()
  local before = neap.now()
  equal(math.type(before), "float")
  work(0.002)
  check.ok(neap.now() >= before + 0.002)
end)

test("time is the wall clock", function()
  local wall = os.time()
  check.ok(math.abs(neap.time() - wall) < 10)
  equal(math.type(neap.time()), "float")
end)

-- Noted while the script loads, started with the version.
local loaded_at, early = neap.now(), nil
neap.after(0.001, function() early = neap.now() end)
local cancelled = neap.after(0, function() error "cancelled while loading" end)
cancelled:cancel()

test_later("a timer made while loading starts with the version", function(finish)
  neap.after(0.003, guard(finish, function()
    check.ok(early and early >= loaded_at)
    finish()
  end))
end)

test_later("after is not early, and is called with nothing", function(finish)
  local start = neap.now()
  neap.after(0.02, guard(finish, function(...)
    equal(select("#", ...), 0)
    check.ok(neap.now() - start >= 0.019, neap.now() - start)
    finish()
  end))
end)

test_later("timers come in the order of their times", function(finish)
  local order = {}
  local function note(name)
    return function() order[#order + 1] = name end
  end
  neap.after(0.03, note "third")
  neap.after(0.01, note "first")
  neap.after(0.02, note "second")
  neap.after(0.04, guard(finish, function()
    equal(table.concat(order, " "), "first second third")
    finish()
  end))
end)

test_later("after(0) runs after the hook that set it", function(finish)
  local returned = false
  neap.after(0, guard(finish, function()
    equal(returned, true)
    finish()
  end))
  returned = true
end)

test_later("after(0) again and again does not stop the rest", function(finish)
  local count, ended = 0, false
  local function again()
    count = count + 1
    if not ended then neap.after(0, again) end
  end
  again()
  neap.after(0.02, guard(finish, function()
    ended = true
    check.ok(count > 1, count)
    finish()
  end))
end)

test_later("every passes the seconds since the last", function(finish)
  local start, last, count = neap.now(), neap.now(), 0
  local timer
  timer = neap.every(0.005, guard(finish, function(seconds)
    local now = neap.now()
    count = count + 1
    check.ok(math.abs(seconds - (now - last)) < 0.05, seconds)
    check.ok(now - start >= 0.005 * count - 0.002, now - start)
    last = now
    if count == 4 then
      equal(timer:cancel(), true)
      finish()
    end
  end))
end)

test_later("every keeps its rate and passes missed ticks over", function(finish)
  local start, ticks = neap.now(), {}
  local timer
  timer = neap.every(0.02, guard(finish, function()
    ticks[#ticks + 1] = neap.now() - start
    if #ticks == 1 then work(0.05) end -- over the second and the third tick
    if #ticks < 3 then return end
    timer:cancel()
    check.ok(ticks[2] >= 0.079 or ticks[2] % 0.02 < 0.019, ticks[2])
    check.ok(ticks[2] - ticks[1] >= 0.05, ticks[2])
    check.ok(ticks[3] - ticks[2] > 0.001, ticks[3]) -- no burst to catch up
    finish()
  end))
end)

test_later("a cancelled timer does not run", function(finish)
  local ran = false
  local timer = neap.after(0.001, function() ran = true end)
  equal(timer:cancel(), true)
  equal(timer:cancel(), false)
  work(0.003)
  neap.after(0.005, guard(finish, function()
    equal(ran, false)
    equal(timer:cancel(), false)
    finish()
  end))
end)

test_later("every can be cancelled inside, more than once", function(finish)
  local count, timer = 0, nil
  timer = neap.every(0.002, function()
    count = count + 1
    timer:cancel()
    timer:cancel()
  end)
  neap.after(0.02, guard(finish, function()
    equal(count, 1)
    equal(timer:cancel(), false)
    finish()
  end))
end)

test_later("a timer may cancel another that is due with it", function(finish)
  local ran = {}
  local a, b
  a = neap.after(0.002, function()
    ran[#ran + 1] = "a"
    b:cancel()
  end)
  b = neap.after(0.002, function()
    ran[#ran + 1] = "b"
    a:cancel()
  end)
  neap.after(0.01, guard(finish, function()
    equal(#ran, 1)
    finish()
  end))
end)

test_later("a timer that nobody keeps runs all the same", function(finish)
  neap.after(0.002, function() finish() end)
  for _ = 1, 100 do
    if collectgarbage("step", 1000) then break end
  end
end)

test_later("many timers", function(finish)
  local count = 0
  for i = 1, 1000 do
    neap.after(i % 10 / 1000, function() count = count + 1 end)
  end
  neap.after(0.05, guard(finish, function()
    equal(count, 1000)
    finish()
  end))
end)

test("what is no time or no function raises", function()
  for _, make in ipairs { neap.after, neap.every } do
    raises("number expected", make, "soon", print)
    raises("function expected", make, 1)
    raises("function expected", make, 1, "print")
    raises("seconds from 0 to", make, -1, print)
    raises("seconds from 0 to", make, 0 / 0, print)
    raises("seconds from 0 to", make, math.huge, print)
  end
  raises("at least 0.001 seconds", neap.every, 0, print)
end)

test("a timer shows its methods only", function()
  local timer = neap.after(100, print)
  equal(type(timer), "userdata")
  equal(getmetatable(timer), "a timer's methods cannot be changed")
  raises("neap.timer expected", timer.cancel, {})
  raises("neap.timer expected", timer.cancel)
  timer:cancel()
end)

return check.service {}
