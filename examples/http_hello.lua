-- The least of an HTTP server (RFC 9112): every GET is answered with a greeting, and the connection
-- stays open for the next one. It is for measuring, and to start from: bodies are not read, so a
-- request with one is refused.
--
--     neap examples/http_hello.lua
--     curl http://localhost:4380/
--     wrk -c 64 -d 5 http://localhost:4380/
--
-- A message is the head of a request: up to the empty line. What is sent has its own framing.

local GREETING = "Hello, World!\n"

local function response(status, body, more)
  return ("HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%s\r\n%s"):format(
    status, #body, more or "", body)
end

local hello = response("200 OK", GREETING)
local last = "Connection: close\r\n"

return {
  listen = "tcp://localhost:4380",
  framing = { "delimiter", "\r\n\r\n", send = "raw" },
  max_message = "16K",
  idle_timeout = 60,
  message_timeout = 10,

  on_message = function(conn, head)
    local method, version = head:match "^(%u+) [^ ]+ HTTP/(1%.[01])"
    if not method then
      conn:send(response("400 Bad Request", "not a request\n", last))
      return conn:close()
    end
    -- Names of fields have no case; most heads have neither of these.
    local fields = head:lower()
    local has_body = fields:find "\ncontent%-length: *[1-9]" or fields:find "\ntransfer%-encoding:"
    if method ~= "GET" or has_body then
      conn:send(response("405 Method Not Allowed", "only GET\n", "Allow: GET\r\n" .. last))
      return conn:close()
    end
    if version == "1.0" or fields:find("\nconnection: *close") then
      conn:send(response("200 OK", GREETING, last))
      return conn:close()
    end
    return hello
  end,
}
