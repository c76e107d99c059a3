-- Scripts are Lua 5.4 and set no globals.
std = "lua54"
max_line_length = 100
codes = true

-- A hook names what it is given, used or not.
unused_args = false

-- What neap does not give to scripts.
not_globals = { "io.popen", "os.execute", "os.exit", "os.setlocale", "string.dump" }

-- Annotations for editors: declarations without bodies.
files["lua/meta"] = { ignore = { "1..", "2..", "3.." } }
