-- A script that does what the dice say, on any connection it ever saw, and tells the checks.
-- sim_lua.c has the functions of `sim`. Nothing here may depend on the order of pairs().
-- luacheck: read globals sim

local neap = require "neap"

local KNOWN_MAX = 24
local TIMERS_MAX = 8

local function below(n)
  return sim.below(n)
end

local function any(list)
  return list[below(#list) + 1]
end

-- ---- Connections of every age ----

local known = {}

local function remember(conn)
  if #known < KNOWN_MAX then
    known[#known + 1] = conn
  else
    known[below(KNOWN_MAX) + 1] = conn
  end
end

local function someone(conn)
  if #known > 0 and below(10) < 4 then
    return any(known)
  end
  return conn
end

-- Some scripts do what they please also where they are asked about a frame or a log record.
local meddles = below(3) == 0

local function meddle(often)
  if not meddles or sim.calm() or #known == 0 or below(often) > 0 then
    return
  end
  local conn, what = any(known), below(7)
  sim.disturb(conn)
  if what == 0 then
    conn:abort()
  elseif what == 1 then
    conn:close("meddled")
  elseif what == 2 then
    conn:pause()
    conn:after(0.5, "resume")
  elseif what == 3 then
    conn:set("framing", "raw")
  elseif what == 4 then
    conn:set("max_output", 100)
  else
    for _ = 1, 1 + below(40) do
      conn:write("something that is not for you")
    end
  end
end

-- ---- Framings ----

local function decode(bytes)
  meddle(20)
  local len = bytes:byte(1)
  if len > 200 then
    return false
  end
  return len + 2, 1, 1
end

local function encode(message)
  if #message > 200 then
    error("too long")
  end
  return string.char(#message) .. message .. "!"
end

local framings = {
  "raw",
  "line",
  { "line", eol = "\r\n" },
  { "line", send = "raw" },
  { "length" },
  { "length", bytes = 2, endian = "little" },
  { "length", bytes = "varint" },
  { "length", bytes = 2, adjust = -2 },
  { "length", bytes = 4, strip = 0 },
  "netstring",
  { "delimiter", "\r\n" },
  { "delimiter", "aab" },
  { "fixed", 7 },
  { "custom", decode, encode = encode, peek = 8 },
  { "custom", decode, send = "raw" },
}

-- Calls a method between two looks of the checks.
local function try(conn, method, ...)
  sim.begin(conn, method, ...)
  local target = sim.target(conn)
  sim.done(target[method](target, ...))
end

-- ---- What can be done ----

local function text(most)
  local len = below(most)
  return ("%07d"):format(below(10000000)):rep(len // 7 + 1):sub(1, len)
end

local function message(conn)
  local framing = conn.transport and conn:get("framing")
  if framing == "fixed" and below(20) > 0 then
    return ("%07d"):format(below(10000000))
  elseif framing == "custom" and below(20) > 0 then
    return text(200)
  end
  return text(any { 8, 8, 50, 200, 3000 })
end

local timers = {}
local act -- below

local object = setmetatable({}, {
  __tostring = function()
    return "an object"
  end,
})

local nap -- below

local function run_timer()
  nap()
  if #known > 0 then
    act(any(known))
  end
end

local sizes = {
  high_water = { 1, 100, 4000, 30000, 1 << 20 },
  max_output = { 1, 500, 20000, 100000, 8 << 20 },
  max_message = { 1, 20, 300, 4000, 1 << 20 },
}
local size_names = { "high_water", "max_output", "max_message" }
local time_names = { "idle_timeout", "message_timeout", "send_timeout", "linger" }

local mild = {
  function(conn) -- a message in pieces
    local count = below(8)
    if count == 0 then
      try(conn, "send", message(conn), below(1000), text(20), "")
    elseif count == 1 then
      try(conn, "send", text(9), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
    else
      try(conn, "send", message(conn))
    end
  end,
  function(conn)
    for _ = 1, 1 + below(4) do
      try(conn, "send", message(conn))
    end
  end,
  function(conn)
    try(conn, "write", text(100), text(10))
  end,
  function(conn) -- long: not copied where it can be sent at once
    try(conn, below(2) == 0 and "send" or "write", text(any { 20000, 70000, 200000 }))
  end,
  function(conn)
    try(conn, "send", text(200), text(40000), text(3))
  end,
  function(conn) -- more than is gathered before it is sent
    local bytes = text(15000)
    for _ = 1, below(12) do
      try(conn, "write", bytes)
    end
  end,
  function(conn) -- to everybody
    local bytes = text(500)
    for other in neap.connections() do
      try(other, "send", bytes)
    end
  end,
  function(conn)
    try(conn, "pause")
    if below(4) > 0 then
      try(conn, "after", below(300) / 100, "resume")
    end
  end,
  function(conn)
    try(conn, "resume")
  end,
  function(conn)
    try(conn, "after", below(1000) / 100, any { "a", "b", "" })
  end,
  function(conn)
    local name = any { "a", "b", "" }
    sim.cancelled(conn, name, conn:cancel(name))
  end,
  function(conn)
    local name = any(size_names)
    try(conn, "set", name, any(sizes[name]))
  end,
  function(conn)
    try(conn, "set", any(time_names), any { 0.01, 1, 10, 100 })
  end,
  function(conn)
    try(conn, "set", "overflow", any { "close", "drop" })
  end,
  function(conn)
    try(conn, "set", "framing", any(framings))
  end,
  function(conn)
    if #timers < TIMERS_MAX then
      timers[#timers + 1] = neap.after(below(500) / 100, run_timer)
    else
      timers[below(TIMERS_MAX) + 1]:cancel()
      table.remove(timers, 1)
    end
  end,
  function()
    if #timers < TIMERS_MAX then
      local timer
      timer = neap.every(0.001 + below(300) / 100, function()
        if sim.calm() then
          timer:cancel()
        end
        run_timer()
      end)
      timers[#timers + 1] = timer
    end
  end,
  function(conn, depth)
    coroutine.wrap(function()
      act(conn, depth + 1)
    end)()
  end,
  function(conn, depth)
    if not pcall(act, conn, depth + 1) then
      sim.forget()
    end
  end,
  function(conn)
    local data = conn.data
    if data then
      if data.id and data.id ~= conn.id then
        sim.fail("conn.data of another connection")
      end
      data.id = conn.id
      if below(4) == 0 then
        conn.data = { id = conn.id }
      end
    end
  end,
  function(conn)
    conn:pending()
    conn:is_open()
    conn:get("max_output")
    conn:setsockopt("IPPROTO_TCP", "TCP_NODELAY", 1)
    conn:getsockopt("SOL_SOCKET", "SO_RCVBUF")
    return conn.peer, conn.host, conn.local_address, tostring(conn)
  end,
  function()
    collectgarbage("step", below(100))
  end,
}

-- What ends a connection or a hook.
local harsh = {
  function(conn)
    try(conn, "close", below(2) == 0 and "enough" or nil)
  end,
  function(conn)
    try(conn, "abort")
  end,
  function(conn)
    try(conn, "shutdown")
  end,
  function()
    error(any { "a text", {}, 42, object })
  end,
  function()
    return object.nothing.field
  end,
  function(conn)
    local c <close> = conn
    return c and nil
  end,
  function(conn)
    conn:set(any { "no_such_option", "max_output", "framing" }, any { "abc", -1, {} })
  end,
}

-- Each seed does some things often, some seldom, some never.
local function weigh(actions)
  local weights = { sum = 0 }
  for i = 1, #actions do
    weights[i] = below(5) < 3 and below(10) or 0
    weights.sum = weights.sum + weights[i]
  end
  return weights
end

local mild_weights, harsh_weights = weigh(mild), weigh(harsh)
local harshness = any { 0, 5, 20, 100 }
local eagerness = below(5)

local function one_of(actions, weights, conn, depth)
  local left = weights.sum > 0 and below(weights.sum) or 0
  for i = 1, #actions do
    left = left - weights[i]
    if left < 0 then
      return actions[i](conn, depth)
    end
  end
end

act = function(conn, depth)
  depth = depth or 0
  if sim.calm() or depth > 3 then
    return
  end
  conn = someone(conn)
  if below(1000) < harshness then
    return one_of(harsh, harsh_weights, conn, depth)
  end
  return one_of(mild, mild_weights, conn, depth)
end

-- Some scripts wait, in every hook; a few for longer than anything else takes.
local sleepiness = any { 0, 0, 20, 300 }

nap = function()
  if below(1000) < sleepiness and not sim.calm() then
    local ok, why, code = neap.sleep(any { 0, 0.001, 0.05, 1, 40 })
    if not ok and (why ~= "closed" or code ~= "ECLOSED") then
      sim.fail("a wait ended with " .. tostring(why))
    end
  end
end

local function act_some(conn)
  nap()
  if below(5) <= eagerness then
    for _ = 1, 1 + below(3) do
      act(conn)
      nap()
    end
  end
  if below(3) == 0 and #known > 0 then
    local other = any(known)
    sim.field(other, other.id, other.transport)
  end
end

-- ---- Hooks ----

local function maybe(fn)
  return below(2) == 0 and fn or nil
end

local replies = below(3)

local function reply(_, bytes)
  if replies == 0 and not sim.calm() then
    return nil
  end
  if replies == 1 and not sim.calm() and below(50) == 0 then
    return {} -- an error
  end
  return below(5) > 0 and bytes or nil
end

local function service(options)
  options.listen = {}
  options.on_accept = maybe(function(peer)
    if below(40) == 0 then
      error("no")
    end
    return peer.port > 0 and below(10) > 0
  end)
  options.on_connect = function(conn)
    sim.saw("on_connect", conn)
    remember(conn)
    act_some(conn)
    return below(4) == 0 and message(conn) or nil
  end
  options.on_message = function(conn, bytes)
    sim.saw("on_message", conn, bytes)
    if options.sessions == false then
      remember(conn)
    end
    act_some(conn)
    return reply(conn, bytes)
  end
  options.on_eof = maybe(function(conn, rest)
    sim.saw("on_eof", conn, rest)
    if sim.calm() or below(3) == 0 then
      conn:close()
    else
      act_some(conn)
      return reply(conn, rest)
    end
  end)
  options.on_idle = maybe(function(conn)
    sim.saw("on_idle", conn)
    act_some(conn)
    return not sim.calm() and below(2) == 0 and "keep" or nil
  end)
  options.on_timer = function(conn, name)
    sim.saw("on_timer", conn, name)
    if name == "resume" then
      try(conn, "resume")
    else
      act_some(conn)
    end
  end
  options.on_drain = maybe(function(conn)
    sim.saw("on_drain", conn)
    act_some(conn)
  end)
  options.on_closing = maybe(function(conn, reason)
    sim.saw("on_closing", conn, reason)
    act_some(conn)
    return below(2) == 0 and message(conn) or nil
  end)
  options.on_disconnect = function(conn, reason)
    sim.saw("on_disconnect", conn, reason)
    act_some(conn)
  end
  options.on_error = maybe(function(conn)
    if conn and below(4) == 0 then
      act(conn)
    end
    if below(4) == 0 then
      sim.kept()
      return "keep"
    end
  end)
  for _, name in ipairs(size_names) do
    if below(4) == 0 then
      options[name] = any(sizes[name])
    end
  end
  for _, name in ipairs(time_names) do
    if below(4) == 0 then
      options[name] = any { 0.05, 1, 10, 100 }
    end
  end
  if below(4) == 0 then
    options.overflow = "drop"
  end
  return options
end

local function stream_service()
  local options = service { framing = any(framings) }
  local framing = options.framing
  if type(framing) == "table" and framing[1] == "fixed" then
    options.max_message = nil
  end
  return options
end

-- Paused for ever would be a fault of this script, not of the server.
neap.every(1, function()
  if sim.calm() then
    for conn in neap.connections() do
      conn:resume()
    end
  end
end)

return {
  on_start = maybe(function()
    timers[1] = neap.after(1, run_timer)
  end),
  on_stop = maybe(function(reason)
    return assert(reason == "shutdown")
  end),
  on_log = maybe(function(record)
    sim.log(record.message)
    meddle(3)
    return below(2) == 0
  end),
  services = {
    first = stream_service(),
    second = stream_service(),
    peers = service { reply_limit = below(2) == 0 },
    singles = service { sessions = false },
  },
}
