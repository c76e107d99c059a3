-- A DNS server for a zone that is a table: addresses of names, by UDP (RFC 1035). What it does not
-- have is NXDOMAIN.
--
--     neap examples/dns_server.lua
--     dig @127.0.0.1 -p 4353 tide.example
--     dnsperf -s 127.0.0.1 -p 4353 -d names.txt             lines like "tide.example A"
--
-- With `sessions = false` a datagram is a question, and what the hook returns its answer.

local zone = {
  ["tide.example"] = { A = "192.0.2.1", AAAA = "2001:db8::1" },
  ["moon.example"] = { A = "192.0.2.2" },
}

local TTL, CLASS_IN = 60, 1
local kinds = { [1] = "A", [28] = "AAAA" }

-- The four or sixteen bytes of an address.
local function packed(kind, text)
  if kind == "A" then
    local a, b, c, d = text:match "(%d+)%.(%d+)%.(%d+)%.(%d+)"
    return string.char(a, b, c, d)
  end
  local head, tail = text:match "^(.-)::(.*)$"
  local function groups(part)
    return (part or ""):gsub("(%x+):?", function(hex)
      return (">I2"):pack(tonumber(hex, 16))
    end)
  end
  local left, right = groups(head or text), groups(tail)
  return left .. ("\0"):rep(16 - #left - #right) .. right
end

-- An answer is the same for every question but for its id and flags: made once, when the script
-- loads. The name in it points at the one in the question (4.1.4).
local answers = {}
for name, records in pairs(zone) do
  for number, kind in pairs(kinds) do
    local bytes = records[kind] and packed(kind, records[kind])
    answers[name .. "/" .. number] = bytes
      and ("\xc0\x0c" .. (">I2I2I4s2"):pack(number, CLASS_IN, TTL, bytes))
  end
end

-- The name in a question, in small letters, and where it ends.
local function read_name(query)
  local labels, at = {}, 13
  while true do
    local label = ("s1"):unpack(query, at)
    at = at + 1 + #label
    if label == "" then
      return table.concat(labels, "."):lower(), at
    end
    labels[#labels + 1] = label
  end
end

local NOERROR, FORMERR, NXDOMAIN = 0, 1, 3

return {
  listen = "udp://localhost:4353",
  sessions = false,

  on_message = function(_, query)
    if #query < 12 or query:byte(3) >= 128 then
      return -- too short for a header, or an answer itself
    end
    -- An answer (QR), authoritative (AA); opcode and RD as they were asked.
    local id, flags = query:sub(1, 2), query:byte(3) & 0x79 | 0x84
    local parsed, name, at = pcall(read_name, query)
    if not parsed or #query < at + 3 then
      return id .. string.char(flags, FORMERR) .. ("\0"):rep(8)
    end
    local kind, class = (">I2I2"):unpack(query, at)
    local answer = class == CLASS_IN and answers[name .. "/" .. kind]
    local code = (answer or zone[name]) and NOERROR or NXDOMAIN
    return id .. string.char(flags, code) .. (">I2I2I2I2"):pack(1, answer and 1 or 0, 0, 0)
      .. query:sub(13, at + 3) .. (answer or "")
  end,
}
