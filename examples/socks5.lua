-- A SOCKS5 server (RFC 1928), for clients that are to reach the network from here: CONNECT, without
-- authentication. It listens on this machine only, and so it should stay.
--
--     neap examples/socks5.lua
--     curl --proxy socks5h://localhost:4343 http://example.org/
--
-- The handshake is straight-line code; then the two connections are joined in C, and Lua has no
-- more to do with them.

local neap = require "neap"

local CONNECT = 1
local OK, FAILED, NETWORK, HOST, REFUSED, COMMAND, ADDRESS = 0, 1, 3, 4, 5, 7, 8
local replies = {
  ECONNREFUSED = REFUSED,
  ENOTFOUND = HOST,
  EHOSTUNREACH = HOST,
  ETIMEDOUT = HOST,
  ENETUNREACH = NETWORK,
}

local function reply(conn, code)
  conn:send(string.char(5, code, 0, 1, 0, 0, 0, 0, 0, 0))
end

-- The address that the client asks for; nil for a kind that there is not.
local function read_host(conn, kind)
  if kind == 1 then
    return ("%d.%d.%d.%d"):format(assert(conn:read(4)):byte(1, 4))
  elseif kind == 3 then
    return assert(conn:read(assert(conn:read(1)):byte()))
  elseif kind == 4 then
    return ("[%x:%x:%x:%x:%x:%x:%x:%x]"):format((">I2I2I2I2I2I2I2I2"):unpack(assert(conn:read(16))))
  end
end

local function greet(conn)
  local version, count = assert(conn:read(2)):byte(1, 2)
  local methods = count > 0 and assert(conn:read(count)) or ""
  local accepted = version == 5 and methods:find("\0", 1, true) ~= nil
  conn:send(accepted and "\5\0" or "\5\255")
  return accepted
end

return {
  listen = "tcp://localhost:4343",
  idle_timeout = 300,

  on_session = function(conn)
    if not greet(conn) then
      return
    end
    local _, command, _, kind = assert(conn:read(4)):byte(1, 4)
    local host = read_host(conn, kind)
    if not host then
      return reply(conn, ADDRESS)
    end
    local address = ("tcp://%s:%d"):format(host, (">I2"):unpack(assert(conn:read(2))))
    if command ~= CONNECT then
      return reply(conn, COMMAND)
    end
    local up, why, code = neap.connect(address, { timeout = 10 })
    neap.log.info("connect", { to = address, why = why })
    if not up then
      return reply(conn, replies[code] or FAILED)
    end
    reply(conn, OK)
    conn:pipe(up) -- returning leaves the two to each other
  end,
}
