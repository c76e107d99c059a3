-- tests/bench/work.lua - a hook that works: the fields of a query are parsed and put in capitals.
return {
  framing = "line",
  on_message = function(_, line)
    local fields, count = {}, 0
    for key, value in line:gmatch "(%w+)=([^&]*)" do
      fields[key] = value:upper()
      count = count + 1
    end
    return count .. " " .. fields.k19
  end,
}
