-- tests/script/log_test.lua - what reaches the log, as on_log sees it.

local check = require "check"
local neap = require "neap"

local test, equal, raises = check.test, check.equal, check.raises
local taking, taken

-- The records that `fn` logs; they do not reach the log.
local function records(fn, ...)
  taking, taken = true, {}
  local ok, why = pcall(fn, ...)
  taking = false
  if not ok then error(why, 0) end
  return taken
end

local function one(fn, ...)
  local got = records(fn, ...)
  equal(#got, 1, "records")
  return got[1]
end

test("each level has its function", function()
  for _, level in ipairs { "info", "warn", "error" } do
    local record = one(neap.log[level], "hello")
    equal(record.level, level)
    equal(record.message, "hello")
    equal(math.type(record.time), "float")
    check.ok(math.abs(record.time - neap.time()) < 5)
  end
end)

test("what is under the level is not made at all", function()
  equal(#records(neap.log.debug, "not shown", {
    x = setmetatable({}, { __tostring = function() error "asked" end }),
  }), 0)
end)

test("fields of every kind keep it", function()
  local record = one(neap.log.info, "kinds", {
    text = "a b",
    empty = "",
    integer = -3,
    float = 2.5,
    whole = 2.0,
    yes = true,
    no = false,
    object = setmetatable({}, { __tostring = function() return "shown" end }),
    bytes = "\0\27[2J\n\xff",
  })
  equal(record.fields.text, "a b")
  equal(record.fields.empty, "")
  equal(record.fields.integer, -3)
  equal(record.fields.float, 2.5)
  equal(record.fields.whole, 2.0)
  equal(record.fields.yes, true)
  equal(record.fields.no, false)
  equal(record.fields.object, "shown")
  equal(record.fields.bytes, "\0\27[2J\n\xff")
  equal(record.fields.version, 1)
end)

test("tables and functions are named by their kind", function()
  local fields = one(neap.log.info, "kinds", { t = {}, f = print }).fields
  check.match(fields.t, "^table: ")
  check.match(fields.f, "^function: ")
end)

test("many fields of many kinds at once", function()
  local given = {}
  for i = 1, 32 do
    given["k" .. i] = ({ i, "s" .. i, i % 2 == 0, i + 0.5, setmetatable({}, {
      __tostring = function() return "o" .. i end,
    }) })[i % 5 + 1]
  end
  local fields = one(neap.log.info, "many", given).fields
  for key, value in pairs(given) do
    equal(fields[key], type(value) == "table" and tostring(value) or value, key)
  end
end)

test("what is no field raises", function()
  raises("names", neap.log.info, "x", { "positional" })
  raises("names", neap.log.info, "x", { [{}] = 1 })
  raises("table expected", neap.log.info, "x", "y")
  raises("string expected", neap.log.info)
  raises("string expected", neap.log.info, {})
  raises("sure", neap.log.info, "x", {
    bad = setmetatable({}, { __tostring = function() error "not sure" end }),
  })
end)

test("a number is a message too", function() equal(one(neap.log.info, 42).message, "42") end)

test("print joins with tabs", function()
  local record = one(print, 1, nil, "x", true, 1.5)
  equal(record.level, "info")
  equal(record.message, "1\tnil\tx\ttrue\t1.5")
  equal(one(print).message, "")
  equal(one(print, setmetatable({}, { __tostring = function() return "o" end })).message, "o")
  equal(one(print, "a\0b").message, "a\0b")
end)

test("a long message is not cut on the way to on_log", function()
  local long = ("x"):rep(100000)
  equal(one(print, long).message, long)
end)

test("logging inside on_log does not go round", function()
  taking, taken = "log", {}
  neap.log.info "outer"
  taking = false
  equal(#taken, 1)
end)

return check.service {
  on_log = function(record)
    if not taking then return end
    taken[#taken + 1] = record
    if taking == "log" then neap.log.info "from inside on_log" end
    return false
  end,
}
