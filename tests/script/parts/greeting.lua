-- tests/script/parts/greeting.lua - a module of require_test.lua; counts how often it is loaded.
local name, path = ...
local state = require "parts.state"
state.loads = state.loads + 1
return { name = name, path = path, hello = function(who) return "hello " .. who end }
