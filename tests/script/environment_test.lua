-- tests/script/environment_test.lua - what a script is given, and what it is not, and why.
-- luacheck: ignore 122 142 143

local check = require "check"

local test, equal, raises = check.test, check.equal, check.raises

local not_given = {
  ["os.exit"] = { os.exit, "neap.stop" },
  ["os.execute"] = { os.execute, "stop this worker" },
  ["io.popen"] = { io.popen, "stop this worker" },
  ["os.setlocale"] = { os.setlocale, "all threads" },
  ["string.dump"] = { string.dump, "precompiled" },
  ["dofile"] = { dofile, "use require" },
  ["loadfile"] = { loadfile, "use require" },
}

for name, case in pairs(not_given) do
  test(name .. " says why it is not given", function()
    local text = raises("is not given to scripts: ", case[1], "x")
    check.ok(text:find(name, 1, true), text)
    check.ok(text:find(case[2], 1, true), text)
  end)
end

test("of debug there is what looks only", function()
  local names = {}
  for name in pairs(debug) do
    names[#names + 1] = name
  end
  table.sort(names)
  equal(table.concat(names, " "), "getinfo traceback")
  check.match(debug.traceback("here"), "^here\nstack traceback:")
end)

test("metatables with finalizers are refused", function()
  raises("__gc is refused: .*<close>", setmetatable, {}, { __gc = function() end })
  raises("__gc is refused", setmetatable, {}, { __gc = false })
  -- Not seen through __index.
  local inherited = setmetatable({}, { __index = { __gc = true } })
  equal(getmetatable(setmetatable({}, inherited)), inherited)
end)

test("metatables work otherwise as ever", function()
  local object = {}
  equal(setmetatable(object, { __len = function() return 7 end }), object)
  equal(#object, 7)
  setmetatable(object, nil)
  equal(#object, 0)
  raises("nil or table expected", setmetatable, object)
  raises("nil or table expected", setmetatable, object, 1)
  raises("table expected", setmetatable, 1, {})
  setmetatable(object, { __metatable = "locked" })
  equal(getmetatable(object), "locked")
  raises("protected metatable", setmetatable, object, {})
end)

test("concatenation metamethods are refused where Lua can crash in them", function()
  local old = tonumber(_VERSION:match "%d+%.%d+") == 5.4
  local ok, why = pcall(setmetatable, {}, { __concat = function() return "" end })
  if not ok then
    check.ok(old)
    check.match(why, "__concat is refused on Lua 5%.4%.%d, .*5%.4%.8")
  end
end)

test("the collector is counted and stepped, not ruled", function()
  equal(math.type(collectgarbage "count"), "float")
  equal(type(collectgarbage "step"), "boolean")
  equal(type(collectgarbage("step", 10)), "boolean")
  for _, mode in ipairs { "collect", "stop", "restart", "generational", "incremental",
    "setpause", "setstepmul", "isrunning", "nonsense" } do
    raises("collectgarbage%('" .. mode .. "'%) is not given", collectgarbage, mode)
  end
  raises("whole collection holds up every connection", collectgarbage)
  raises("string expected", collectgarbage, {})
end)

test("the methods of strings cannot be reached", function()
  equal(getmetatable "", "the methods of strings cannot be changed")
  raises("string.dump is not given to scripts", ("").dump, print)
  raises("table expected", function() return setmetatable("", {}) end)
end)

test("a library is a copy of this script alone", function()
  local upper = string.upper
  string.upper = function() return "mine" end
  string.shout = function() return "mine" end
  equal(string.upper "a", "mine")
  equal(("a"):upper(), "A")
  equal(("a").shout, nil)
  equal(require "string", string)
  equal(package.loaded.string, string)
  string.upper, string.shout = upper, nil
end)

test("the usual libraries are there", function()
  for name, some in pairs {
    coroutine = "create resume yield status wrap running isyieldable close",
    table = "insert remove concat sort unpack pack move",
    string = "format gsub rep pack unpack",
    math = "floor random tointeger",
    utf8 = "char codepoint",
    io = "open lines read write",
    os = "time clock date getenv remove rename tmpname",
  } do
    for field in some:gmatch "%a+" do
      equal(type(require(name)[field]), "function", name .. "." .. field)
    end
  end
  equal(_G._G, _G)
  equal(package.loaded._G, _G)
  equal(_VERSION, "Lua 5.4")
end)

-- Written while the script loads: allowed.
loaded_global = 1 -- luacheck: ignore

test("a global written outside the load raises", function()
  local why = raises("global 'count' written outside the load", function()
    count = 1 -- luacheck: ignore
  end)
  check.match(why, "environment_test.lua:%d+: ")
  check.match(why, "conn%.data")
  raises("global 'other' written", function() _G.other = 1 end)
  raises("global '12' written", function() _G[12] = 1 end)
  equal(rawget(_G, "count"), nil)
  equal(getmetatable(_G), "the globals are sealed")
  raises("protected metatable", setmetatable, _G, {})
end)

test("a global that is there is read and not written, one that is not is nil", function()
  equal(loaded_global, 1) -- luacheck: ignore
  raises("global 'loaded_global' written", function()
    loaded_global = 2 -- luacheck: ignore
  end)
  equal(_G.loaded_global, 1)
  equal(misspelt, nil) -- luacheck: ignore
end)

test("load takes text", function()
  equal(load "return 1 + 1"(), 2)
  equal(load("return ...", "=x")(5), 5)
  local pieces = { "return ", "'in ", "pieces'" }
  equal(load(function() return table.remove(pieces, 1) end)(), "in pieces")
  local chunk, why = load("return +", "=chunk")
  equal(chunk, nil)
  check.match(why, "^chunk:1: ")
end)

test("load gives the globals of the script, or what it is told", function()
  equal(load "return _G"(), _G)
  equal(load "return string"(), string)
  equal(load("return x", "x", "t", { x = 3 })(), 3)
  local env = {}
  load("y = 4", "y", "t", env)()
  equal(env.y, 4)
  raises("nil value", load("return x.y", "x", "t", nil))
  raises("written outside the load", load "z = 1")
end)

test("load refuses what is precompiled", function()
  local binary = "\27Lua\x54\0\25\147\r\n\26\n\4\8\8"
  local chunk, why = load(binary)
  equal(chunk, nil)
  check.match(why, "attempt to load a binary chunk")
  equal(load(function() return binary end), nil)
  raises("precompiled", load, "return 1", "x", "b")
  equal(load(binary, "x", "bt"), nil)
  equal(load("return 1", "x", "bt")(), 1)
end)

test("files are read and written as ever", function()
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "w"))
  file:write("one\ntwo\n")
  file:flush()
  local lines = {}
  for line in io.lines(name) do
    lines[#lines + 1] = line
  end
  equal(table.concat(lines, ","), "one,two")
  os.remove(name)
  equal(select(3, io.open(name)), 2)
end)

return check.service {}
