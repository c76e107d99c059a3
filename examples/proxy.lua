-- A TCP proxy that logs what passes in both directions. Each client has a connection of its own to
-- the server behind; what one side sends is written to the other.
--
--     neap examples/proxy.lua                               in front of localhost:8080
--     UPSTREAM=tcp://example.org:80 neap examples/proxy.lua
--
-- In other windows: a server, and a client of the proxy.
--
--     python3 -m http.server 8080
--     curl http://localhost:4343/
--
-- Where nothing is to be looked at, conn:pipe(up) does the same without asking Lua: see socks5.lua.

local neap = require "neap"

local upstream = os.getenv "UPSTREAM" or "tcp://localhost:8080"

-- What both sides do. `conn.data.other` is the connection on the other side.
local function side(arrow)
  return {
    on_message = function(conn, bytes)
      neap.log.info(arrow, { bytes = #bytes, text = bytes:sub(1, 60) })
      local _, state = conn.data.other:write(bytes)
      if state == "full" then
        conn:pause() -- the other side is slow: until it says on_drain
      end
    end,

    on_drain = function(conn)
      conn.data.other:resume()
    end,

    -- One side has sent all it wants to send; what comes from the other still passes.
    on_eof = function(conn)
      conn.data.other:shutdown()
    end,

    on_disconnect = function(conn, reason)
      local fields = { reason = reason, received = conn.received, sent = conn.sent }
      neap.log.info(arrow .. " closed", fields)
      if conn.data.other then
        conn.data.other:close()
      end
    end,
  }
end

local front, back = side "->", side "<-"

front.listen = "tcp://localhost:4343"
front.on_connect = function(conn)
  local up, why = neap.connect(upstream, { service = "back" })
  if not up then
    neap.log.warn("no upstream", { why = why })
    conn:close()
    return
  end
  conn.data.other, up.data.other = up, conn
end

back.listen = {} -- nobody connects to it: neap.connect opens its connections

return { services = { front = front, back = back } }
