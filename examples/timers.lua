-- Things that happen by themselves, after a while or again and again.
--
--     neap examples/timers.lua
--
-- In another window:
--
--     nc localhost 4343          then wait, or type a number of seconds

local neap = require "neap"

local alarms = 0

-- Runs every 10 seconds from when the server serves. neap.after runs its function once. Both
-- return a timer, and timer:cancel() ends it.
neap.every(10, function(seconds)
  neap.log.info("alarms so far", { alarms = alarms, last = seconds })
end)

return {
  listen = "tcp://localhost:4343",
  framing = "line",
  idle_timeout = 30,

  -- A timer of this connection, with a name. It ends with the connection.
  on_connect = function(conn)
    conn:after(3, "hint")
    return "Type a number of seconds."
  end,

  on_message = function(conn, line)
    conn:cancel("hint")
    local seconds = tonumber(line)
    if not seconds or seconds < 0 or seconds > 3600 then
      return "That is no number from 0 to 3600."
    end
    conn:after(seconds, "alarm") -- the same name again sets the timer anew
    return "I shall call you."
  end,

  on_timer = function(_, name)
    if name == "hint" then return "Still there? Type 5, for example." end
    alarms = alarms + 1
    return "Time is up!"
  end,

  -- For `idle_timeout` nothing came and nothing was taken. "keep" gives the client as long
  -- again; without it, or without this hook, the connection is closed.
  on_idle = function(conn)
    if conn.data.warned then return end
    conn.data.warned = true
    conn:send("Say something, or I close.")
    return "keep"
  end,
}
