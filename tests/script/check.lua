-- tests/script/check.lua - tests that run inside the server, each in a timer of its own.
--
--     local check = require "check"
--     check.test("what it shows", function() check.equal(1 + 1, 2) end)
--     check.test_later("what takes time", function(finish) neap.after(0, finish) end)
--     return check.service {}
--
-- The last line of a good run is "all N tests passed"; what fails is logged as an error. With
-- NEAP_TEST_COLLECT set, each check goes through whole cycles of the collector.

local neap = require "neap"

local check = {}
local tests, passed, failed = {}, 0, 0
local collects = os.getenv "NEAP_TEST_COLLECT"

local function collect()
  if not collects then return end
  for _ = 1, 1000 do
    if collectgarbage("step", 1000) then return end
  end
end

local function shown(value)
  return type(value) == "string" and ("%q"):format(value) or tostring(value)
end

function check.equal(got, wanted, what)
  collect()
  if got == wanted and math.type(got) == math.type(wanted) then return end
  error(("%s%s, not %s"):format(what and what .. ": " or "", shown(got), shown(wanted)), 2)
end

function check.ok(value, what)
  collect()
  if not value then error(what or "not true", 2) end
end

function check.match(text, pattern)
  collect()
  if type(text) ~= "string" or not text:find(pattern) then
    error(("%s does not match %q"):format(shown(text), pattern), 2)
  end
end

-- fn(...) raises a text that matches; returns the value raised.
function check.raises(pattern, fn, ...)
  collect()
  local ok, raised = pcall(fn, ...)
  if ok then error("nothing raised, wanted: " .. pattern, 2) end
  if not tostring(raised):find(pattern) then
    error(("raised %s, wanted %q"):format(shown(raised), pattern), 2)
  end
  return raised
end

function check.test(name, fn)
  tests[#tests + 1] = {
    name = name,
    fn = function(finish)
      fn()
      finish()
    end,
  }
end

-- fn(finish) must see to it that finish() is called, once; an error before that fails the test,
-- and so does finish(text).
function check.test_later(name, fn) tests[#tests + 1] = { name = name, fn = fn } end

local function conclude()
  if failed == 0 and passed > 0 then
    print(("all %d tests passed"):format(passed))
  else
    neap.log.error(("%d of %d tests failed"):format(failed, #tests))
  end
  neap.stop()
end

local function run(index)
  local test = tests[index]
  if not test then return conclude() end
  local finished = false
  local function finish(trouble)
    if finished then return neap.log.error(test.name .. ": finished twice") end
    finished = true
    if trouble then
      failed = failed + 1
      neap.log.error(("%s: %s"):format(test.name, trouble))
    else
      passed = passed + 1
    end
    neap.after(0, function() run(index + 1) end)
  end
  local ok, raised = xpcall(test.fn, debug.traceback, finish)
  if not ok and not finished then finish(raised) end
end

-- Wraps a body of a callback, so that what it raises ends the test.
function check.guard(finish, fn)
  return function(...)
    local ok, raised = xpcall(fn, debug.traceback, ...)
    if not ok then finish(raised) end
  end
end

-- What the test script returns: `service` with the tests started.
function check.service(service)
  local start = service.on_start
  service.hook_timeout = service.hook_timeout or 10
  service.on_start = function(previous)
    if start then start(previous) end
    neap.after(0, function() run(1) end)
  end
  return service
end

return check
