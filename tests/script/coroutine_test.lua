-- tests/script/coroutine_test.lua - coroutines in a server whose hooks are coroutines themselves.

local check = require "check"

local test, equal, raises = check.test, check.equal, check.raises
local create, resume, status = coroutine.create, coroutine.resume, coroutine.status
local wrap, yield, close = coroutine.wrap, coroutine.yield, coroutine.close

-- A <close> variable that notes what it was closed with.
local function noting(notes, name)
  return setmetatable({}, {
    __close = function(_, why) notes[#notes + 1] = name .. ":" .. tostring(why) end,
  })
end

test("values go in and out", function()
  local co = create(function(a, b)
    local c, d = yield(a + b)
    local none = select("#", yield(c .. d, nil))
    return none, "end", nil
  end)
  equal(table.concat({ tostring(select(2, resume(co, 1, 2))) }), "3")
  local ok, text, last = resume(co, "x", "y")
  equal(ok, true)
  equal(text, "xy")
  equal(last, nil)
  equal(select("#", resume(co)), 4)
  equal(status(co), "dead")
  ok, text = resume(co)
  equal(ok, false)
  equal(text, "cannot resume dead coroutine")
end)

test("many values pass", function()
  local function many(...) return select("#", ...), ... end
  local numbers = {}
  for i = 1, 200 do
    numbers[i] = i
  end
  local co = create(function(...)
    local got = table.pack(yield(...))
    return table.unpack(got, 1, got.n)
  end)
  equal(many(resume(co, table.unpack(numbers))), 201)
  equal(many(resume(co, table.unpack(numbers))), 201)
  local fn = wrap(function(...) return yield(...) end)
  equal(many(fn(table.unpack(numbers))), 200)
  equal(many(fn()), 0)
end)

test("an error in a coroutine is a result, with its place", function()
  local co = create(function() error "inside" end)
  local ok, text = resume(co)
  equal(ok, false)
  check.match(text, "coroutine_test.lua:%d+: inside$")
  equal(status(co), "dead")
  local object = {}
  ok, text = resume(create(function() error(object) end))
  equal(ok, false)
  equal(text, object)
  equal(select(2, resume(create(function() error() end))), nil)
end)

test("wrap raises with the place of both", function()
  local fn = wrap(function() error "inside" end)
  local text = raises("inside", function() fn() end)
  check.match(text, "coroutine_test.lua:%d+: .*coroutine_test.lua:%d+: inside$")
  text = raises("dead coroutine", fn)
  check.match(text, "cannot resume dead coroutine$")
  local object = {}
  equal(raises("table", wrap(function() error(object) end)), object)
end)

test("wrap closes what an error leaves open", function()
  local notes = {}
  local fn = wrap(function()
    local a <close> = noting(notes, "a") -- luacheck: ignore
    local b <close> = noting(notes, "b") -- luacheck: ignore
    error("x", 0)
  end)
  raises("x", fn)
  equal(table.concat(notes, " "), "b:x a:x")
end)

test("an error while closing replaces the first", function()
  local fn = wrap(function()
    local bad <close> = setmetatable({}, { -- luacheck: ignore
      __close = function() error("from close", 0) end,
    })
    error("first", 0)
  end)
  raises("from close", fn)
end)

test("wrap iterates", function()
  local sum = 0
  for i in wrap(function()
    for i = 1, 10 do
      yield(i)
    end
  end) do
    sum = sum + i
  end
  equal(sum, 55)
end)

test("close runs what is pending", function()
  local notes = {}
  local co = create(function()
    local a <close> = noting(notes, "a") -- luacheck: ignore
    yield()
  end)
  resume(co)
  equal(close(co), true)
  equal(notes[1], "a:nil")
  equal(status(co), "dead")
  equal(close(co), true)
  equal(close(create(function() end)), true)
end)

test("close answers with the error it met", function()
  local co = create(function()
    local bad <close> = setmetatable({}, { -- luacheck: ignore
      __close = function() error("closing", 0) end,
    })
    yield()
  end)
  resume(co)
  local ok, why = close(co)
  equal(ok, false)
  equal(why, "closing")
  co = create(function() error("died", 0) end)
  resume(co)
  ok, why = close(co)
  equal(ok, false)
  equal(why, "died")
end)

test("what runs cannot be closed or resumed", function()
  raises("cannot close a running coroutine", close, (coroutine.running()))
  local outer
  outer = create(function()
    wrap(function() raises("cannot close a normal coroutine", close, outer) end)()
    return resume(outer)
  end)
  local ok, inner, text = resume(outer)
  equal(ok, true)
  equal(inner, false)
  equal(text, "cannot resume non-suspended coroutine")
  ok, text = resume((coroutine.running()))
  equal(ok, false)
  check.match(text, "cannot resume non%-suspended coroutine")
end)

test("states are as in Lua", function()
  local states = {}
  local outer
  outer = create(function()
    states[#states + 1] = status(outer)
    wrap(function() states[#states + 1] = status(outer) end)()
    yield()
  end)
  states[#states + 1] = status(outer)
  resume(outer)
  states[#states + 1] = status(outer)
  resume(outer)
  states[#states + 1] = status(outer)
  equal(table.concat(states, " "), "suspended running normal suspended dead")
  equal(status((coroutine.running())), "running")
end)

test("a hook cannot yield out of neap", function()
  raises("attempt to yield from outside a coroutine", yield)
  raises("attempt to yield from outside a coroutine", yield, 1, 2)
  equal(coroutine.isyieldable(), false)
end)

test("inside a coroutine of one's own yield works, through pcall too", function()
  local co = create(function()
    equal(coroutine.isyieldable(), true)
    local ok, got = pcall(function() return yield "one" end)
    equal(ok, true)
    local handled, text = xpcall(function()
      yield "two"
      error("after", 0)
    end, function(why) return "handled " .. why end)
    equal(handled, false)
    return got, text
  end)
  equal(select(2, resume(co)), "one")
  equal(select(2, resume(co, "back")), "two")
  local ok, got, text = resume(co)
  equal(ok, true)
  equal(got, "back")
  equal(text, "handled after")
end)

test("yield crosses metamethods and iterators", function()
  local object = setmetatable({}, { __index = function(_, key) return yield(key) end })
  local co = create(function()
    local sum = object.a + object.b
    for value in function(_, last) return yield(last) end do
      sum = sum + value
    end
    return sum
  end)
  equal(select(2, resume(co)), "a")
  equal(select(2, resume(co, 1)), "b")
  equal(select(2, resume(co, 2)), nil)
  equal(select(2, resume(co, 10)), 10)
  equal(select(2, resume(co, nil)), 13)
end)

test("yield across a C function raises, and names it", function()
  local co = create(function() table.sort({ 3, 2, 1 }, function() return yield() end) end)
  local ok, why = resume(co)
  equal(ok, false)
  check.match(why, "attempt to yield across a C%-call boundary")
end)

test("coroutines nest", function()
  local function nested(depth)
    if depth == 0 then return yield "deep" end
    local co = wrap(function() return nested(depth - 1) end)
    local got = co()
    if got == "deep" then got = yield(got) end
    return co(got)
  end
  local fn = wrap(function() return nested(50) end)
  equal(fn(), "deep")
  equal(fn "answer", "answer")
end)

test("too many nested coroutines are an error, no crash", function()
  local function nest() return wrap(nest)() end
  raises("C stack overflow", nest)
end)

test("running tells hooks and coroutines apart", function()
  local hook, is_main = coroutine.running()
  equal(type(hook), "thread")
  equal(is_main, false)
  local inner = wrap(function() return coroutine.running() end)()
  check.ok(inner ~= hook)
end)

local survivor = create(function()
  local notes = {}
  for i = 1, 3 do
    notes[i] = yield(i)
  end
  return table.concat(notes)
end)

for i = 1, 4 do
  test("a coroutine goes on in hook " .. i, function()
    local ok, got = resume(survivor, ("xabc"):sub(i, i))
    equal(ok, true)
    if i < 4 then
      equal(got, i)
    else
      equal(got, "abc")
    end
  end)
end

test("arguments are checked", function()
  raises("function expected", wrap)
  raises("function expected", wrap, 1)
  raises("function expected", create, {})
  raises("#1 to .* expected", resume, 1)
  raises("#1 to .* expected", close, {})
  raises("#1 to .* expected", close)
  raises("#1 to .* expected", status, nil)
end)

return check.service {}
