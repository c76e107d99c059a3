-- tests/script/parts/raises.lua - a module that fails, the first time only.
local state = require "parts.state"
state.failed = (state.failed or 0) + 1
if state.failed == 1 then error "not today" end
return "today"
