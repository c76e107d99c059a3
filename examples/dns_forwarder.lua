-- A DNS forwarder: questions that come by UDP are asked of another name server, and logged with how
-- long the answer took.
--
--     neap examples/dns_forwarder.lua                       asks 9.9.9.9
--     NAMESERVER=udp://192.0.2.53:53 neap examples/dns_forwarder.lua
--
--     dig @127.0.0.1 -p 4353 example.org
--
-- With `sessions = false` each datagram stands alone, and its hook waits without holding up any
-- other: as many questions as max_waiting are under way at once.

local neap = require "neap"

local nameserver = os.getenv "NAMESERVER" or "udp://9.9.9.9:53"
local TRIES, TRY = 2, 1.5 -- seconds for each

-- The name in a question (RFC 1035, 4.1.2), and the question whole.
local function question_of(query)
  local labels, at = {}, 13
  while true do
    local label = ("s1"):unpack(query, at)
    at = at + 1 + #label
    if label == "" then
      return table.concat(labels, "."), query:sub(13, at + 3)
    end
    labels[#labels + 1] = label
  end
end

-- What the name server answers. A socket of its own for each question, with a port that nobody can
-- guess; what is not an answer to it is passed over.
local function ask(query)
  for _ = 1, TRIES do
    local up <close> = assert(neap.connect(nameserver))
    local deadline = neap.now() + TRY
    up:send(query)
    repeat
      local answer = up:read(nil, deadline - neap.now())
      if answer and answer:sub(1, 2) == query:sub(1, 2) then
        return answer
      end
    until not answer
  end
end

return {
  listen = "udp://localhost:4353",
  sessions = false,

  on_message = function(_, query)
    local parsed, name, question = pcall(question_of, query)
    if not parsed or #query < 17 then
      return -- not a question
    end
    local began = neap.now()
    local answer = ask(query)
    local ms = (neap.now() - began) * 1000
    neap.log.info("question", { name = name, answered = answer ~= nil, ms = ms })
    -- Without an answer: SERVFAIL, with the question and nothing else.
    return answer or query:sub(1, 2) .. "\x81\x82\0\1\0\0\0\0\0\0" .. question
  end,
}
