-- tests/script/parts/state.lua - a module of require_test.lua.
return { loads = 0 }
