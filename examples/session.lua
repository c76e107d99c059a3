-- The server of many_clients.lua as straight-line code: one function for the whole of a connection,
-- as in a program that has a thread for each client. There is no thread: while a session waits for
-- its client, the others go on.
--
--     neap examples/session.lua
--
-- In other windows, as many as you like:
--
--     nc localhost 4343                                     a name first, then lines; "bye" ends

local neap = require "neap"

return {
  listen = "tcp://localhost:4343",
  framing = "line",

  -- A client that says nothing for a minute is let go: the loop below ends.
  idle_timeout = 60,

  -- `resumed` is true when the script was changed meanwhile (neap reload): a session that waits in
  -- conn:messages() ends there, and the new one goes on with the same conn.data and with all that
  -- has come and was not read.
  on_session = function(conn, resumed)
    if not resumed then
      neap.log.info("a new client has connected: " .. conn.peer)
      conn:send("Who are you?")
      -- Nothing in 10 seconds is the end, and no error.
      conn.data.name = assert(conn:read(nil, 10))
      conn:send("Hello, " .. conn.data.name .. ".")
    end
    for message in conn:messages() do
      neap.log.info("message", { text = message, name = conn.data.name })
      if message:match("^%s*(.-)%s*$") == "bye" then
        break
      end
      conn:send(message)
    end
    -- Returning closes the connection, once all is sent.
  end,

  on_disconnect = function(_, reason)
    neap.log.info("disconnected", { reason = reason })
  end,
}
