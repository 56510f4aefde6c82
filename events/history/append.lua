-- Takes one step of the relay: events, their offsets, dead letters and the input's cursor, all of it or nothing.
-- Checks come before the first write, and the first write is one that Redis refuses when it has no memory left, so that
-- a refusal leaves nothing behind.
--
-- KEYS  history (hash), fence (string), rejected (stream), bytes of the documents in it (string)
-- ARGV  as read below, in this order; then per event: document without its closing brace, how many topics other than
--       `all`, their names; then per dead letter: source, field, reason, document, time, size; then how many executions,
--       and unless there are none: their life in ms, how many are kept in all and per topic, per execution: id, state;
--       how many topics they have, per topic: name, how many numbers and ids follow, number and id of each of its executions
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
local dead_letters, dead_letter_bytes = tonumber(take()), tonumber(take())
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
local last, touched, kinds, reborn, numbers = {}, {}, {}, {}, {}
local events = {}
for index = 1, event_count do
  local document, topic_count = take(), tonumber(take())
  local topics, offsets, own_number = {}, {}, digits(number + index)
  for place = 1, topic_count do
    local topic = take()
    local offset = last[topic]
    if not offset then
      touched[#touched + 1] = topic
      kinds[topic] = string.match(topic, '^[^:]*')
      offset = tonumber(redis.call('GET', base .. 'offset:' .. topic) or '0')
      reborn[topic] = offset == 0
      numbers[topic] = {}
    end
    offset = offset + 1
    last[topic] = offset
    numbers[topic][#numbers[topic] + 1] = own_number
    topics[place], offsets[place] = topic, offset
    reply[#reply + 1] = offset
  end
  events[index] = {document, topics, offsets, own_number}
end

for _, event in ipairs(events) do
  number = number + 1
  local place = event[4]
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
      redis.call('DEL', base .. 'recent:' .. topic, base .. 'index:' .. topic)
      reborn[topic] = false
    end
    -- What later events of this batch push out of the buffer need not be written.
    if offset > last[topic] - recent_events then
      redis.call('XADD', base .. 'recent:' .. topic, digits(offset) .. '-0', 'd', document)
    end
  end
end

local oldest = number
if event_count > 0 then
  redis.call('XTRIM', journal, 'MAXLEN', '~', journal_events)
  redis.call('PEXPIRE', journal, journal_ttl_ms)
  oldest = tonumber(string.match(redis.call('XRANGE', journal, '-', '+', 'COUNT', 1)[1][1], '^%d+'))
end

-- Adds to a topic's index. What the journal no longer has leaves at twice the rate at which the rest comes, so that an
-- index is at most two batches longer than the journal, and nothing has to be searched.
local function index_numbers(topic, added)
  local key, length = base .. 'index:' .. topic, 0
  -- Lua hands over a few thousand arguments at most.
  for first = 1, #added, 1000 do
    length = redis.call('RPUSH', key, unpack(added, first, math.min(first + 999, #added)))
  end
  local spare = 2 * #added
  if length > spare and tonumber(redis.call('LINDEX', key, spare - 1)) < oldest then
    redis.call('LTRIM', key, spare, -1)
  end
  redis.call('PEXPIRE', key, journal_ttl_ms)
end

for _, topic in ipairs(touched) do
  local recent = base .. 'recent:' .. topic
  redis.call('XTRIM', recent, 'MAXLEN', recent_events)
  redis.call('PEXPIRE', recent, recent_ttl_ms)
  redis.call('SET', base .. 'offset:' .. topic, digits(last[topic]), 'PX', offset_ttl_ms)
  index_numbers(topic, numbers[topic])
end

if event_count > 0 then
  redis.call('HSET', KEYS[1], 'number', digits(number))
end
if cursor ~= '' then
  redis.call('HSET', KEYS[1], 'cursor:' .. source, cursor)
end
if fence > newest then
  redis.call('SET', KEYS[2], digits(fence))
end

-- The oldest dead letters give way while there are too many, or too many bytes of them.
local function bound_dead_letters(added)
  local total = redis.call('INCRBY', KEYS[4], added)
  while redis.call('XLEN', KEYS[3]) > dead_letters or total > dead_letter_bytes do
    local oldest = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
    if not oldest then
      redis.call('DEL', KEYS[4])
      return
    end
    redis.call('XDEL', KEYS[3], oldest[1])
    total = redis.call('DECRBY', KEYS[4], #oldest[2][8])
  end
end

local rejected_bytes = 0
for _ = 1, rejected_count do
  local from, field, reason, document, at, size = take(), take(), take(), take(), take(), take()
  redis.call('XADD', KEYS[3], '*',
    'source', from, 'field', field, 'reason', reason, 'document', document, 'at', at, 'size', size)
  rejected_bytes = rejected_bytes + #document
end
if rejected_count > 0 then
  bound_dead_letters(rejected_bytes)
end

-- Adds the executions that the next arguments name to a topic's list.
local function list_executions(listing, stop)
  while arg < stop do
    local upto = math.min(arg + 1000, stop)
    redis.call('ZADD', listing, unpack(ARGV, arg + 1, upto))
    arg = upto
  end
end

-- Beyond the cap of all of them, executions leave with their state.
local function forget_executions(listing, most)
  local spare = redis.call('ZCARD', listing) - most
  if spare > 0 then
    local oldest = redis.call('ZPOPMIN', listing, spare)
    for index = 1, #oldest, 2 do
      redis.call('UNLINK', base .. 'execution:' .. oldest[index])
    end
  end
end

local execution_count = tonumber(take())
if execution_count > 0 then
  local execution_ttl_ms, most, most_per_topic = take(), tonumber(take()), tonumber(take())
  for _ = 1, execution_count do
    local id, state = take(), take()
    redis.call('SET', base .. 'execution:' .. id, state, 'PX', execution_ttl_ms)
  end
  for _ = 1, tonumber(take()) do
    local topic, size = take(), tonumber(take())
    local listing = base .. 'executions:' .. topic
    list_executions(listing, arg + size)
    if topic == 'all' then
      forget_executions(listing, most)
    else
      redis.call('ZREMRANGEBYRANK', listing, 0, -most_per_topic - 1)
    end
    redis.call('PEXPIRE', listing, execution_ttl_ms)
  end
end
return reply
