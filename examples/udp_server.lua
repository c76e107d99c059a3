-- A UDP server: prints each message with the IP and port that it came from, and says that it did.
--
--     neap examples/udp_server.lua
--
-- In another window, one of these:
--
--     neap send udp://127.0.0.1:4343 'message'
--     echo message | nc -u -w 1 127.0.0.1 4343

return {
  listen = "udp://127.0.0.1:4343",

  -- Each datagram stands alone. With sessions (the default) every sender would be a connection
  -- with on_connect and on_disconnect, until it has been silent for a while.
  sessions = false,

  -- One datagram is one message, byte for byte; an empty one is "".
  -- print writes a line to the log, where bytes that a terminal could take amiss are escaped.
  on_message = function(conn, message)
    print(("message from %s port %d: %s"):format(conn.host, conn.port, message))
    -- Goes back to where the datagram came from. Without a return nothing does.
    return ("received %d bytes\n"):format(#message)
  end,
}
