-- tests/script/parts/nothing.lua - a module that returns nothing and sets a global as it loads.
part_global = "set by a module" -- luacheck: ignore
