-- Reads the executions of a topic, newest first, and where the history and the topic are at that moment. Writes nothing, so
-- that a Redis without memory serves it.
--
-- KEYS  history (hash)
-- ARGV  what the keys of all epochs begin with, topic, most executions, how many to look at, status as JSON text (empty: any),
--       most bytes of states (one comes in any case)
-- Reply {epoch, number, the topic's offset, states}, or {} when there is no history

local root, topic, limit, reach, status, most_bytes = unpack(ARGV)
limit, most_bytes = tonumber(limit), tonumber(most_bytes)

local epoch, number = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'number'))
if not epoch then
  return {}
end
local base = root .. epoch .. ':'
local offset = topic == 'all' and number or redis.call('GET', base .. 'offset:' .. topic)
local reply = {epoch, number or '0', offset or '0'}

-- Quotes within values are escaped, and nodes are kept without field names: only the execution's own status can look like this.
local wanted = '"status":' .. status
local bytes = 0
for _, id in ipairs(redis.call('ZREVRANGE', base .. 'executions:' .. topic, 0, reach - 1)) do
  local state = #reply - 3 < limit and redis.call('GET', base .. 'execution:' .. id)
  if state and (status == '' or string.find(state, wanted, 1, true)) then
    if #reply > 3 and bytes + #state > most_bytes then
      break
    end
    reply[#reply + 1] = state
    bytes = bytes + #state
  end
end
return reply
