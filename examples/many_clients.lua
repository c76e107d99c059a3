-- A TCP server for many clients at once: each is logged, each message too, and comes back.
-- A client that says "bye" is let go.
--
--     neap examples/many_clients.lua
--
-- In other windows, as many as you like:
--
--     nc localhost 4343                                     type lines; "bye" ends
--     neap send tcp://localhost:4343 'Hello...'
--     for i in $(seq 50); do neap send tcp://localhost:4343 "client $i" & done; wait

local neap = require "neap"

-- " bye \r\n" -> "bye"
local function strip(text)
  return text:match("^%s*(.-)%s*$")
end

return {
  -- What follows the "?" are options of the listening socket. The backlog is how many clients
  -- may wait to be accepted. SO_REUSEADDR needs no option: TCP listeners always have it.
  listen = "tcp://localhost:4343?backlog=128",

  -- Other socket options, by the names of setsockopt(2). Set on the listening socket, they hold
  -- for every client.
  socket = {
    { "SOL_SOCKET", "SO_RCVBUF", 65536 },
  },

  on_connect = function(conn)
    -- The same for one client alone.
    conn:setsockopt("SOL_SOCKET", "SO_KEEPALIVE", true)
    neap.log.info("a new client has connected: " .. conn.peer)
  end,

  -- One client never waits for another: neap calls this for each when its bytes are there.
  -- The log line names the peer by itself; a pair in the table is one more of its fields.
  on_message = function(conn, message)
    neap.log.info("message", { text = message })
    if strip(message) == "bye" then
      return conn:close()
    end
    return message
  end,

  -- The reason is "closed" after a "bye", "eof" when the client just went.
  on_disconnect = function(_, reason)
    neap.log.info("disconnected", { reason = reason })
  end,
}
