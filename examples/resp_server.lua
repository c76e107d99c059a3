-- A store that speaks the protocol of Redis (RESP 2): PING, ECHO, SET, GET, DEL, EXISTS, INCR.
-- Enough for redis-cli, and for redis-benchmark to measure.
--
--     neap examples/resp_server.lua
--     redis-cli -p 4379 set tide neap
--     redis-benchmark -p 4379 -t ping,set,get -P 16
--
-- The framing is raw: a client sends many commands in one piece (a pipeline), and they are answered
-- in one. What is left of a command waits in conn.data. `neap.keep` holds the store over reloads;
-- each worker would have its own, so there is one.

local neap = require "neap"

local store = neap.keep "store"
local OK, NONE = "+OK\r\n", "$-1\r\n"

local function bulk(text)
  return text and ("$%d\r\n%s\r\n"):format(#text, text) or NONE
end

local commands = {
  PING = function(text) return text and bulk(text) or "+PONG\r\n" end,
  ECHO = bulk,
  GET = function(key) return bulk(store[key]) end,
  SET = function(key, value)
    store[key] = value
    return OK
  end,
  DEL = function(key)
    local had = store[key]
    store[key] = nil
    return had and ":1\r\n" or ":0\r\n"
  end,
  EXISTS = function(key) return store[key] and ":1\r\n" or ":0\r\n" end,
  INCR = function(key)
    local number = math.tointeger(tonumber(store[key] or "0"))
    if not number then
      return "-ERR value is not an integer or out of range\r\n"
    end
    store[key] = tostring(number + 1)
    return (":%d\r\n"):format(number + 1)
  end,
}

-- How many arguments each takes at least.
local least = { ECHO = 1, GET = 1, SET = 2, DEL = 1, EXISTS = 1, INCR = 1 }

local function answer(words)
  local name = words[1]:upper()
  local command = commands[name]
  if not command then
    return ("-ERR unknown command '%s'\r\n"):format(words[1]:sub(1, 60):gsub("[\r\n]", " "))
  elseif #words - 1 < (least[name] or 0) then
    return ("-ERR wrong number of arguments for '%s' command\r\n"):format(words[1]:lower())
  end
  return command(table.unpack(words, 2))
end

-- The words of the command at `at`, and where the next one begins; nil if it is not whole. Raises
-- where the bytes are no command.
local function read_command(bytes, at)
  local count, from = bytes:match("^%*(%d+)\r\n()", at)
  if not count then
    assert(#bytes - at < 32 and bytes:find("^%*?%d*\r?$", at), "no command")
    return nil
  end
  local words = {}
  for i = 1, tonumber(count) do
    local len, start = bytes:match("^%$(%d+)\r\n()", from)
    if not len then
      assert(#bytes - from < 32 and bytes:find("^%$?%d*\r?$", from), "no length")
      return nil
    end
    local stop = start + tonumber(len)
    if #bytes < stop + 1 then
      return nil
    end
    words[i] = bytes:sub(start, stop - 1)
    from = stop + 2
  end
  return words, from
end

return {
  listen = "tcp://localhost:4379",

  on_message = function(conn, bytes)
    local data = conn.data
    if data.rest then
      bytes = data.rest .. bytes
    end
    if #bytes > 2 ^ 24 then
      return conn:close "a command of more than 16 MiB"
    end
    local replies, at = {}, 1
    while at <= #bytes do
      local ok, words, next_at = pcall(read_command, bytes, at)
      if not ok then
        conn:write(table.concat(replies), "-ERR Protocol error\r\n")
        return conn:close "protocol"
      elseif not words then
        break
      end
      if #words > 0 then
        replies[#replies + 1] = answer(words)
      end
      at = next_at
    end
    data.rest = at <= #bytes and bytes:sub(at) or nil
    return table.concat(replies)
  end,
}
