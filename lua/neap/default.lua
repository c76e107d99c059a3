-- What `neap` serves without a script: an echo. Copy it as a start:
--
--     neap help run          how to serve your copy
--     neap send 4343 'hi'    a client to try it with
--
-- A script returns one table. Its functions are hooks: neap calls them when something happens
-- on a connection. Everything else in the table is an option.

local neap = require "neap"

return {
  -- TCP and UDP, for this machine only. "tcp://0.0.0.0:4343" is for all.
  listen = { "tcp://127.0.0.1:4343", "udp://127.0.0.1:4343" },

  -- Whatever one read brings is a message. With "line", a message is a line.
  framing = "raw",

  -- A client has connected, or a first datagram has come from an address.
  on_connect = function(conn)
    neap.log.info("a new client has connected: " .. conn.peer)
  end,

  -- A returned string is sent back.
  on_message = function(conn, message)
    neap.log.info("message", { text = message })
    if message:match("^%s*(.-)%s*$") == "bye" then
      return conn:close()
    end
    return message
  end,

  -- The last of a connection; `reason` is one word, such as "eof" or "closed".
  on_disconnect = function(_, reason)
    neap.log.info("disconnected", { reason = reason })
  end,
}
