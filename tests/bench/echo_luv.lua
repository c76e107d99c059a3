-- tests/bench/echo_luv.lua - an echo as it is written for luv, which is Lua 5.4 on libuv.
--
--     lua5.4 echo_luv.lua [line|raw]

local uv = require "luv"

local kind = ...
local ignored = uv.new_signal()
ignored:start("sigpipe", function() end) -- a write to a client that is gone
local server = uv.new_tcp()

local function serve_raw(client)
  client:read_start(function(err, bytes)
    if err or not bytes then return client:close() end
    client:write(bytes)
  end)
end

local function serve_lines(client)
  local rest = ""
  client:read_start(function(err, bytes)
    if err or not bytes then return client:close() end
    rest = rest .. bytes
    local from = 1
    while true do
      local at = rest:find("\n", from, true)
      if not at then break end
      client:write(rest:sub(from, at - 1) .. "\n")
      from = at + 1
    end
    rest = rest:sub(from)
  end)
end

server:bind("127.0.0.1", 0)
server:listen(4096, function()
  local client = uv.new_tcp()
  server:accept(client)
  client:nodelay(true)
  local serve = kind == "line" and serve_lines or serve_raw
  serve(client)
end)
print("port=" .. server:getsockname().port)
io.stdout:flush()
uv.run()
