-- A TCP server for one thing: what a client sends comes back.
--
--     neap examples/echo_server.lua                    serve; Ctrl-C ends it
--
-- In another window, one of these:
--
--     neap send tcp://localhost:4343 'Hello...'        send a text, print the answer
--     nc localhost 4343                                type lines; Ctrl-D ends

local neap = require "neap"

-- A script returns one table. Functions in it are hooks: neap calls them when something happens
-- on a connection. Everything else is an option.
return {
  -- "localhost" is 127.0.0.1, and ::1 where the machine has IPv6.
  -- A TCP listener always has SO_REUSEADDR: the server can start again at once.
  listen = "tcp://localhost:4343",

  -- A client has connected. `conn` is the connection; conn.peer is "IP:PORT".
  on_connect = function(conn)
    neap.log.info("a new client has connected: " .. conn.peer)
  end,

  -- Some bytes have come. A returned string is sent back.
  on_message = function(_, message)
    return message
  end,

  -- The last that happens on a connection. When the client closes, the reason is "eof".
  on_disconnect = function(_, reason)
    neap.log.info("client left", { reason = reason })
  end,
}
