-- tests/script/require_test.lua - modules: where they are found, and when.

local check = require "check"

local test, equal, raises = check.test, check.equal, check.raises

local greeting, path = require "parts.greeting"
local again = require "parts.greeting"
local state = require "parts.state"
local nothing = require "parts.nothing"
local folder = require "parts"
local first_try = { pcall(require, "parts.raises") }
local second_try = { pcall(require, "parts.raises") }
local missing = { pcall(require, "parts.missing") }

-- Modules elsewhere, along package.path. Each state that loads the script must see the same
-- names, and no other process: hence the number of this one.
local process = assert(io.open "/proc/self/stat"):read "n"
package.path = package.path .. ";/tmp/?.lua"
local function require_text(name, text)
  name = ("neap_%s_%d"):format(name, process)
  local path_of = "/tmp/" .. name .. ".lua"
  local file <close> = assert(io.open(path_of, "w"))
  file:write(text)
  file:flush()
  local ok, got = pcall(require, name)
  os.remove(path_of)
  return { ok, got }
end
local broken = require_text("broken", "-- the first line\nreturn return")
local along_path = require_text("good", "return 'along the path'")

package.preload["made.here"] = function(name, extra) return name .. " " .. extra end
local made = require "made.here"
package.preload.later = function() return "from preload" end

test("a module in a subfolder is found beside the script", function()
  equal(greeting.hello "you", "hello you")
  equal(greeting.name, "parts.greeting")
  check.match(greeting.path, "/parts/greeting%.lua$")
  equal(path, greeting.path)
  equal(folder, "the folder")
end)

test("a module is loaded once", function()
  equal(again, greeting)
  equal(state.loads, 1)
  equal(package.loaded["parts.greeting"], greeting)
  equal(require "parts.greeting", greeting)
end)

test("a module that returns nothing is true", function()
  equal(nothing, true)
  equal(part_global, "set by a module") -- luacheck: ignore
end)

test("a module that failed is tried again", function()
  equal(first_try[1], false)
  check.match(first_try[2], "parts/raises%.lua:%d+: not today")
  equal(second_try[1], true)
  equal(second_try[2], "today")
end)

test("a module that is missing is told with where it was looked for", function()
  equal(missing[1], false)
  check.match(missing[2], "module 'parts.missing' not found: ")
  check.match(missing[2], "parts/missing%.lua")
end)

test("a module that does not compile is told with its line", function()
  equal(broken[1], false)
  check.match(broken[2], "module '.-' does not load: .*%.lua:2: ")
end)

test("a module is found along package.path", function()
  equal(along_path[1], true)
  equal(along_path[2], "along the path")
end)

test("preloaded modules come first, and later too", function()
  equal(made, "made.here :preload:")
  equal(require "later", "from preload")
end)

test("what the script did not load is not found later", function()
  raises("module 'parts.unused' was not loaded with the script: require it while the script"
    .. " loads", require, "parts.unused")
  raises("'os.missing' was not loaded", require, "os.missing")
end)

test("what failed to load while loading can be had later", function()
  package.loaded["parts.raises"] = nil
  equal(require "parts.raises", "today")
end)

test("neap and the libraries are modules", function()
  equal(require "neap", require "neap")
  equal(require "table", table)
  equal(require "_G", _G)
  raises("string expected", require)
  raises("string expected", require, {})
end)

return check.service {}
