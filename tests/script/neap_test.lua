-- tests/script/neap_test.lua - who and where a script is, and the end.

local check = require "check"
local neap = require "neap"

local test, equal, raises = check.test, check.equal, check.raises

local while_loading = {
  stop = { pcall(neap.stop) },
  connections = { pcall(neap.connections) },
}
local started, previous

test("a script knows itself", function()
  check.match(neap.script.path, "neap_test%.lua$")
  equal(neap.script.version, 1)
  check.match(neap.version, "^%d+%.%d+%.%d+")
end)

test("workers are counted from 1", function()
  equal(neap.worker, 1)
  equal(neap.workers, 1)
  equal(math.type(neap.workers), "integer")
end)

test("on_start ran once, with nothing before it", function()
  equal(started, 1)
  equal(previous, nil)
end)

test("nobody is connected", function()
  local count = 0
  for _ in neap.connections() do
    count = count + 1
  end
  for _ in neap.connections "main" do
    count = count + 1
  end
  for _ in neap.connections "no such service" do
    count = count + 1
  end
  equal(count, 0)
  raises("string expected", neap.connections, {})
end)

test("while the script loads there is nothing to stop or walk", function()
  equal(while_loading.stop[1], false)
  check.match(while_loading.stop[2], "use on_start")
  equal(while_loading.connections[1], false)
  check.match(while_loading.connections[2], "use on_start")
end)

test("stop takes a text", function() raises("string expected", neap.stop, {}) end)

test("what is not there is nil", function()
  equal(neap.no_such_thing, nil)
end)

return check.service {
  on_start = function(...)
    started = (started or 0) + 1
    previous = ...
  end,
  on_stop = function(reason)
    if reason ~= "shutdown" then neap.log.error("stopped for " .. tostring(reason)) end
    for _ in neap.connections() do
      neap.log.error "somebody is connected"
    end
  end,
}
