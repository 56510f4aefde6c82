-- Takes one step of the relay: events, their offsets, dead letters and the input's cursor, all of it or nothing.
-- Checks come before the first write, and the first write is one that Redis refuses when it has no memory left, so that
-- a refusal leaves nothing behind.
--
-- KEYS  history (hash), fence (string), rejected (stream)
-- ARGV  as read below, in this order; then per event: document without its closing brace, how many topics other than
--       `all`, their names; then per dead letter: source, field, reason, document, time
-- Reply {'ok', epoch, number before, offsets of each event's topics other than `all` in order}
--       {'fenced', newest token} or {'moved', epoch, number}

local arg = 0
local function take()
  arg = arg + 1
  return ARGV[arg]
end

local root = take()
local fence = tonumber(take())
local expected_epoch, expected_number = take(), tonumber(take())
local new_epoch = take()
local source, cursor = take(), take()
local recent_events, recent_ttl_ms = tonumber(take()), take()
local journal_events, journal_ttl_ms = take(), take()
local offset_ttl_ms = take()
local dead_letters = take()
local event_count, rejected_count = tonumber(take()), tonumber(take())

-- Lua writes large numbers as 1e+15 if it is let.
local function digits(number)
  return string.format('%.0f', number)
end

local newest = tonumber(redis.call('GET', KEYS[2]) or '0')
if fence < newest then
  return {'fenced', digits(newest)}
end

local state = redis.call('HMGET', KEYS[1], 'epoch', 'number')
local epoch, number = state[1], tonumber(state[2] or '0')
-- A writer that has seen more than there is proves that the end of the history was lost (a restart from an older
-- file, a failover). Its numbers must not be given out a second time under the same epoch.
if not epoch or (expected_epoch == epoch and expected_number > number) then
  epoch, number = new_epoch, 0
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'number', '0')
end
if expected_epoch ~= epoch or expected_number ~= number then
  return {'moved', epoch, digits(number)}
end

local base = root .. epoch .. ':'
local journal = base .. 'journal'
local reply = {'ok', epoch, digits(number)}

-- Gives out offsets: `last` ends as the offset of each topic's last event in this batch.
local last, touched, kinds, reborn = {}, {}, {}, {}
local events = {}
for index = 1, event_count do
  local document, topic_count = take(), tonumber(take())
  local topics, offsets = {}, {}
  for place = 1, topic_count do
    local topic = take()
    local offset = last[topic]
    if not offset then
      touched[#touched + 1] = topic
      kinds[topic] = string.match(topic, '^[^:]*')
      offset = tonumber(redis.call('GET', base .. 'offset:' .. topic) or '0')
      reborn[topic] = offset == 0
    end
    offset = offset + 1
    last[topic] = offset
    topics[place], offsets[place] = topic, offset
    reply[#reply + 1] = offset
  end
  events[index] = {document, topics, offsets}
end

for _, event in ipairs(events) do
  number = number + 1
  local place = digits(number)
  local parts = {event[1], ',"event_id":"', epoch, '-', place, '","offsets":{"all":', place}
  for index, topic in ipairs(event[2]) do
    parts[#parts + 1] = ',"' .. kinds[topic] .. '":' .. digits(event[3][index])
  end
  parts[#parts + 1] = '}}'
  local document = table.concat(parts)
  redis.call('XADD', journal, place .. '-0', 'd', document)
  for index, topic in ipairs(event[2]) do
    local offset = event[3][index]
    if reborn[topic] then
      -- The offset may be gone before the buffer (expiry, eviction), and a stream's ids only go up.
      redis.call('DEL', base .. 'recent:' .. topic)
      reborn[topic] = false
    end
    -- What later events of this batch push out of the buffer need not be written.
    if offset > last[topic] - recent_events then
      redis.call('XADD', base .. 'recent:' .. topic, digits(offset) .. '-0', 'd', document)
    end
  end
end

for _, topic in ipairs(touched) do
  local recent = base .. 'recent:' .. topic
  redis.call('XTRIM', recent, 'MAXLEN', recent_events)
  redis.call('PEXPIRE', recent, recent_ttl_ms)
  redis.call('SET', base .. 'offset:' .. topic, digits(last[topic]), 'PX', offset_ttl_ms)
end

if event_count > 0 then
  redis.call('XTRIM', journal, 'MAXLEN', '~', journal_events)
  redis.call('PEXPIRE', journal, journal_ttl_ms)
  redis.call('HSET', KEYS[1], 'number', digits(number))
end
if cursor ~= '' then
  redis.call('HSET', KEYS[1], 'cursor:' .. source, cursor)
end
if fence > newest then
  redis.call('SET', KEYS[2], digits(fence))
end
for _ = 1, rejected_count do
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', dead_letters, '*',
    'source', take(), 'field', take(), 'reason', take(), 'document', take(), 'at', take())
end
return reply
