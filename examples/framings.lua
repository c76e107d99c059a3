-- Framing: where one message ends and the next begins. Every service here has another one, and
-- each is an echo. Framing works both ways, so that an echo gives the same bytes.
--
--     neap examples/framings.lua
--
-- In another window:
--
--     printf 'one\ntwo\n'             | nc -N localhost 4401     line
--     printf 'one--two--'             | nc -N localhost 4402     delimiter
--     printf 'abcdefgh'               | nc -N localhost 4403     fixed: two messages
--     printf '\0\0\0\5hello'          | nc -N localhost 4404     length
--     printf '\5hello'                | nc -N localhost 4405     varint
--     printf '5:hello,3:you,'         | nc -N localhost 4406     netstring
--     printf '#5 hello#3 you'         | nc -N localhost 4407     custom
--
-- The log shows each message. Send half of one: nothing happens until the rest has come.

local neap = require "neap"

local function echo(_, message)
  neap.log.info("message", { text = message })
  return message
end

-- "#5 hello": a number, a blank, so many bytes. Sees the first bytes of what has come (64 unless
-- `peek` says otherwise) and answers how long the whole frame is, and how many of its first
-- bytes are no part of the message; nil asks for more, false ends the connection as malformed.
local function decode(bytes)
  local digits, stop = bytes:match("^#(%d+)()")
  if digits and bytes:sub(stop, stop) == " " then
    return stop + tonumber(digits), stop
  end
  if not bytes:match("^#%d*$") or #bytes > 10 then
    return false
  end
end

local function encode(message)
  return "#" .. #message .. " " .. message
end

return {
  services = {
    line = { listen = 4401, framing = "line", on_message = echo },
    delimiter = { listen = 4402, framing = { "delimiter", "--" }, on_message = echo },
    fixed = { listen = 4403, framing = { "fixed", 4 }, on_message = echo },
    -- 1 to 8 bytes, endian = "big" or "little"; `adjust` if the number counts more or less.
    length = { listen = 4404, framing = { "length", bytes = 4 }, on_message = echo },
    varint = { listen = 4405, framing = { "length", bytes = "varint" }, on_message = echo },
    netstring = { listen = 4406, framing = "netstring", on_message = echo },
    custom = { listen = 4407, framing = { "custom", decode, encode = encode }, on_message = echo },
  },
}
