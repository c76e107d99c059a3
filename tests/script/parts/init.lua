-- tests/script/parts/init.lua - what `require "parts"` finds.
return "the folder"
