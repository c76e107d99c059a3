-- tests/script/protected_test.lua - pcall, xpcall and error values, as stock Lua has them.

local check = require "check"

local test, equal, raises = check.test, check.equal, check.raises

local function count(...) return select("#", ...) end

test("pcall gives results and errors", function()
  equal(count(pcall(function() end)), 1)
  equal(select(3, pcall(function(...) return ... end, 1, 2)), 2)
  equal(count(pcall(function(...) return ... end, nil, nil)), 3)
  local object = {}
  equal(select(2, pcall(error, object)), object)
  equal(select(2, pcall(error)), nil)
  equal(select(2, pcall(error, "x", 0)), "x")
  equal((pcall(nil)), false)
  raises("value expected", pcall)
end)

test("xpcall gives results and arguments", function()
  local function handler() return "handled" end
  equal(count(xpcall(function() end, handler)), 1)
  equal(count(xpcall(function(...) return ... end, handler, nil, 2, nil)), 4)
  equal(select(3, xpcall(function(...) return ... end, handler, 1, 2)), 2)
end)

test("xpcall asks its handler once, where it was raised", function()
  local calls, trace = 0, nil
  local function raising() error("deep", 0) end
  local ok, got, more = xpcall(raising, function(why)
    calls = calls + 1
    trace = debug.traceback(why)
    return "handled " .. why, "dropped"
  end)
  equal(ok, false)
  equal(got, "handled deep")
  equal(more, nil)
  equal(calls, 1)
  check.match(trace, "protected_test.lua:%d+: in function <.*'xpcall'")
end)

test("xpcall with debug.traceback", function()
  local ok, text = xpcall(function() local x = nil; return x.y end, debug.traceback)
  equal(ok, false)
  check.match(text, "attempt to index a nil value %(local 'x'%)\nstack traceback:\n")
end)

test("xpcall without a function as handler raises", function()
  raises("bad argument #2 to '.-' %(function expected", xpcall, function() end)
  raises("bad argument #2 to '.-' %(function expected", xpcall, function() end, 1)
end)

test("xpcall of what cannot be called", function()
  local ok, got = xpcall(nil, function(why) return "handled: " .. why end)
  equal(ok, false)
  check.match(got, "handled: attempt to call a nil value")
end)

test("a handler that fails ends in an error", function()
  local ok, got = xpcall(error, function() error "again" end, "first")
  equal(ok, false)
  check.ok(got ~= nil)
end)

test("protected calls nest", function()
  local order = {}
  local ok, outer = xpcall(function()
    local inner_ok, inner = xpcall(function() error("inner", 0) end, function(why)
      order[#order + 1] = why
      return why .. "!"
    end)
    equal(inner_ok, false)
    equal(inner, "inner!")
    local plain_ok, plain = pcall(error, "plain", 0)
    equal(plain_ok, false)
    equal(plain, "plain")
    error("outer", 0)
  end, function(why)
    order[#order + 1] = why
    return why .. "?"
  end)
  equal(ok, false)
  equal(outer, "outer?")
  equal(table.concat(order, " "), "inner outer")
end)

test("an error object keeps its identity and its metatable", function()
  local mt = { __tostring = function(self) return "fault " .. self.code end }
  local object = setmetatable({ code = 7 }, mt)
  local raised = raises("fault 7", error, object)
  equal(raised, object)
  equal(raised.code, 7)
end)

test("an endless recursion is an error", function()
  local function deeper() return 1 + deeper() end
  raises("stack overflow", deeper)
  local ok, why = xpcall(deeper, function(why) return why end)
  equal(ok, false)
  check.match(why, "stack overflow")
end)

test("a <close> variable sees the error and may replace it", function()
  local seen
  local function body()
    local guard <close> = setmetatable({}, { -- luacheck: ignore
      __close = function(_, why)
        seen = why
        error("from close", 0)
      end,
    })
    error("from body", 0)
  end
  raises("from close", body)
  equal(seen, "from body")
end)

test("error positions", function()
  check.match(raises("here", function() error "here" end), "^.-protected_test.lua:%d+: here$")
  equal(raises("here", function() error("here", 0) end), "here")
  local function level_two() error("caller", 2) end
  check.match(raises("caller", function() level_two() end), "protected_test.lua:%d+: caller$")
end)

test("assert passes values and errors on", function()
  equal(select("#", assert(1, 2, nil)), 3)
  equal(raises("no", assert, nil, "no"), "no")
  raises("assertion failed!", assert, false)
  local object = {}
  equal(raises("table", assert, nil, object), object)
end)

test("tostring and tonumber say what is wrong", function()
  raises("'__tostring' must return a string", tostring,
    setmetatable({}, { __tostring = function() return {} end }))
  raises("value expected", tostring)
end)

return check.service {}
