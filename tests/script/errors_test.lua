-- tests/script/errors_test.lua - what becomes of an error that a timer raises.

local check = require "check"
local neap = require "neap"

local equal, guard, test_later = check.equal, check.guard, check.test_later
local taking, logged, told = false, nil, nil

-- Runs `raise` in a timer; then `look(record, err)` with what was logged and what on_error got.
local function raised_by(name, raise, look)
  test_later(name, function(finish)
    taking, logged, told = true, {}, {}
    neap.after(0, raise)
    neap.after(0.002, guard(finish, function()
      taking = false
      equal(#told, 1, "calls of on_error")
      equal(#logged, 1, "records")
      local err = told[1]
      equal(err.hook, "timer")
      equal(err.version, 1)
      equal(err.conn, nil)
      equal(logged[1].level, "error")
      look(err, logged[1])
      finish()
    end))
  end)
end

raised_by("a text", function() error "plain trouble" end, function(err, record)
  check.match(err.message, "errors_test.lua:%d+: plain trouble$")
  check.match(err.traceback, "stack traceback:\n.*errors_test.lua")
  local all = record.message
  for _, value in pairs(record.fields) do
    all = all .. " " .. tostring(value)
  end
  check.match(all, "plain trouble")
end)

raised_by("nil", function() error(nil) end, function(err)
  check.match(err.message, "nil")
end)

raised_by("a table", function() error {} end, function(err)
  check.match(err.message, "table")
end)

raised_by("an object with a text", function()
  error(setmetatable({}, { __tostring = function() return "fault 7" end }))
end, function(err) check.match(err.message, "fault 7") end)

raised_by("an object whose text is none", function()
  error(setmetatable({}, { __tostring = function() return {} end }))
end, function(err) equal(type(err.message), "string") end)

raised_by("an object whose text raises", function()
  error(setmetatable({}, { __tostring = function() error "no text" end }))
end, function(err) equal(type(err.message), "string") end)

raised_by("a number", function() error(42) end, function(err)
  check.match(tostring(err.message), "42")
end)

raised_by("a boolean", function() error(false) end, function(err)
  check.match(err.message, "boolean")
end)

raised_by("while closing", function()
  local bad <close> = setmetatable({}, { -- luacheck: ignore
    __close = function() error "from close" end,
  })
end, function(err) check.match(err.message, "errors_test.lua:%d+: from close$") end)

raised_by("an endless recursion", function()
  local function deeper() return 1 + deeper() end
  deeper()
end, function(err)
  check.match(err.message, "stack overflow")
  check.ok(#err.traceback < 10000, #err.traceback)
end)

raised_by("bytes that are no text", function() error("\27[2J\0\xff", 0) end, function(err)
  equal(err.message, "\27[2J\0\xff")
end)

raised_by("through a coroutine", function()
  coroutine.wrap(function() error "inside" end)()
end, function(err) check.match(err.message, "inside") end)

raised_by("a misuse", function() neap.log.info() end, function(err)
  check.match(err.message, "bad argument #1 to '.-info' %(string expected, got no value%)")
end)

-- The last: on_error itself raises, and is not asked again.
test_later("on_error that raises", function(finish)
  taking, logged, told = "raise", {}, {}
  neap.after(0, function() error "outer trouble" end)
  neap.after(0.002, guard(finish, function()
    taking = false
    equal(#told, 1)
    equal(#logged, 2)
    finish()
  end))
end)

return check.service {
  on_error = function(conn, err)
    if not taking then return end
    told[#told + 1] = err
    err.conn = conn
    if taking == "raise" then error "trouble in on_error" end
  end,
  on_log = function(record)
    if not taking or record.level ~= "error" then return end
    logged[#logged + 1] = record
    return false
  end,
}
