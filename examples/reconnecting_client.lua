-- A client that is always connected: it says hello, logs each line that the server sends, and when
-- the connection ends it comes back, after a pause that grows from half a second to half a minute.
--
--     neap examples/reconnecting_client.lua                 to localhost:4344
--     SERVER=tcp://chat.example:7000 neap examples/reconnecting_client.lua
--
-- In another window a server, which you may end and start again:
--
--     nc -l localhost 4344
--
-- It listens nowhere; `neap reload` changes it while it runs, with a new connection.

local neap = require "neap"

local server = os.getenv "SERVER" or "tcp://localhost:4344"
local SHORTEST, LONGEST = 0.5, 30

-- Until the server ends the connection, or says nothing for a minute.
local function talk(conn)
  conn:send("hello from " .. conn.local_address)
  for line in conn:messages(nil, 60) do
    neap.log.info("line", { text = line })
    if line == "ping" then
      conn:send("pong")
    end
  end
end

local function stay_connected()
  local pause = SHORTEST
  while true do
    local conn <close>, why = neap.connect(server, { framing = "line" })
    if conn then
      neap.log.info("connected", { to = server })
      pause = SHORTEST
      talk(conn)
      neap.log.info "the connection has ended"
    else
      neap.log.warn("no connection", { why = why, again_in = pause })
    end
    -- Not all clients at once, after the server was away.
    neap.sleep(pause * (0.5 + math.random() / 2))
    pause = math.min(pause * 2, LONGEST)
  end
end

return {
  listen = {},
  on_start = function()
    neap.spawn(stay_connected) -- it ends with this version
  end,
}
