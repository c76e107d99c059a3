-- A chat: who connects types a name, then everybody reads what everybody types.
--
--     neap examples/chat.lua
--
-- In two or more other windows (/who lists who is there, /bye leaves):
--
--     nc localhost 4343

local neap = require "neap"

-- The connections of all who have said their name. neap.connections walks over all there are.
local function members()
  local list = {}
  for conn in neap.connections() do
    if conn.data.name then list[#list + 1] = conn end
  end
  return list
end

local function tell_all(line, except)
  for _, conn in ipairs(members()) do
    if conn ~= except then conn:send(line) end
  end
end

local function names()
  local list = {}
  for i, conn in ipairs(members()) do list[i] = conn.data.name end
  return table.concat(list, ", ")
end

local function enter(conn, name)
  if not name:match("^%w+$") or #name > 20 then
    return "A name has 1 to 20 letters and digits. Your name?"
  elseif (", " .. names() .. ","):find(", " .. name .. ",", 1, true) then
    return name .. " is here already. Your name?"
  end
  conn.data.name = name -- conn.data is a table of yours that lives as long as the connection
  tell_all("* " .. name .. " has come", conn)
  return "Welcome, " .. name .. ". Here are: " .. names()
end

return {
  listen = "tcp://localhost:4343",
  framing = "line", -- a message is a line, without its end; what is sent gets one
  max_message = "1K",

  on_connect = function() return "Your name?" end,

  on_message = function(conn, line)
    if not conn.data.name then return enter(conn, line) end
    if line == "/who" then return "Here are: " .. names() end
    if line == "/bye" then return conn:close() end
    tell_all(conn.data.name .. ": " .. line, conn)
  end,

  on_disconnect = function(conn)
    if conn.data.name then tell_all("* " .. conn.data.name .. " has left", conn) end
  end,
}
