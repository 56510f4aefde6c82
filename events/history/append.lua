-- Takes one step of the relay: events, their offsets, dead letters and the input's cursor, all of it or nothing.
-- Checks come before the first write, and the first write is one that Redis refuses when it has no memory left, so that
-- a refusal leaves nothing behind.
--
-- All events pass through here, and Redis does nothing else meanwhile. So the writer has given the events their places, the
-- script only checks that it knew them, and what belongs to one topic is one command. What a command does is quickly done; to
-- ask for one from here costs as much again. So keys live longer than they have to and are not renewed by each step (a key
-- that is new always is), and lists may grow a little over their bounds before they are cut.
--
-- KEYS  history (hash), fence (string), rejected (stream), bytes of the documents in it (string)
-- ARGV  as read below, in this order; then packed as MessagePack: the documents of the events, and per topic other than `all`:
--       name, the offset that the writer takes it to have, which of the events are its (counted from 1), whether the life of
--       its keys is to be renewed; then per dead letter: source, field, reason, document, time, size; then the life of
--       executions in ms, how many are kept in all and per topic, and packed: id and state of each, and per topic that they
--       have: name, number and id of each of its executions, whether the list's life is to be renewed; then, if the group is
--       to be told, a channel and the messages to be published on it
-- Reply {'ok', 1 when the group was told, else 0}, or when nothing was written
--       {'fenced', newest token}, {'moved', epoch, number} or {'offsets', the offset of each topic in order}

local root, fence, expected_epoch, expected_number, new_epoch, source, cursor, recent_events, recent_life_ms, journal_events,
  journal_life_ms, offset_life_ms, dead_letters, dead_letter_bytes, rejected_count, packed = unpack(ARGV, 1, 16)
fence, expected_number, recent_events = tonumber(fence), tonumber(expected_number), tonumber(recent_events)
dead_letters, dead_letter_bytes = tonumber(dead_letters), tonumber(dead_letter_bytes)

local arg = 16
local function take()
  arg = arg + 1
  return ARGV[arg]
end

-- Lua writes large numbers as 1e+15 if it is let.
local function digits(number)
  return string.format('%d', number)
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

-- Lua hands over a few thousand arguments at most.
local MOST_ARGUMENTS = 1000

local recent_slack = math.floor(recent_events / 8)
local base = root .. epoch .. ':'
local journal = base .. 'journal'
local documents, topics = unpack(cmsgpack.unpack(packed))

-- What the writer took the offsets for is what they are, or it has to think again.
local offset_keys, offsets, known = {}, {'offsets'}, true
for place, topic in ipairs(topics) do
  offset_keys[place] = base .. 'offset:' .. topic[1]
end
for first = 1, #topics, MOST_ARGUMENTS do
  local upto = math.min(first + MOST_ARGUMENTS - 1, #topics)
  for place, offset in ipairs(redis.call('MGET', unpack(offset_keys, first, upto))) do
    offsets[first + place] = offset or '0'
  end
end
for place, topic in ipairs(topics) do
  known = known and tonumber(offsets[place + 1]) == topic[2]
end
if not known then
  return offsets
end

-- An id without a second part has 0 for it.
local numbers = {}
for index, document in ipairs(documents) do
  numbers[index] = digits(number + index)
  if index < #documents then
    redis.call('XADD', journal, numbers[index], 'd', document)
  else
    redis.call('XADD', journal, 'MAXLEN', '~', journal_events, numbers[index], 'd', document)
    redis.call('PEXPIRE', journal, journal_life_ms)
  end
end
number = number + #documents

local oldest
-- The number of the journal's first entry.
local function oldest_number()
  oldest = oldest or tonumber(string.match(redis.call('XRANGE', journal, '-', '+', 'COUNT', 1)[1][1], '^%d+'))
  return oldest
end

-- Appends values to a list; returns its length.
local function push(key, values)
  local length = 0
  for first = 1, #values, MOST_ARGUMENTS do
    length = redis.call('RPUSH', key, unpack(values, first, math.min(first + MOST_ARGUMENTS - 1, #values)))
  end
  return length
end

-- A list that is as long as what was just added to it is new.
local function keep_alive(key, life_ms, renew, length, added)
  if renew or length == added then
    redis.call('PEXPIRE', key, life_ms)
  end
end

-- Adds to a topic's recent buffer. What later events of this step push out of it need not be written.
local function keep_recent(key, places, renew)
  local added = {}
  for index = math.max(1, #places - recent_events + 1), #places do
    added[#added + 1] = documents[places[index]]
  end
  local length = push(key, added)
  if length > recent_events + recent_slack then
    redis.call('LTRIM', key, -recent_events, -1)
  end
  keep_alive(key, recent_life_ms, renew, length, #added)
end

-- Adds to a topic's index. What the journal no longer has leaves it some at a time, once for each so many events, so that an
-- index is longer than the journal by hardly more than a step, and nothing has to be searched.
local INDEX_ROUND = 32
local function index_numbers(key, offset, places, renew)
  local added = {}
  for index, place in ipairs(places) do
    added[index] = numbers[place]
  end
  local length = push(key, added)
  if offset % INDEX_ROUND + #added >= INDEX_ROUND then
    local some, left = #added + INDEX_ROUND, length
    while left > some and tonumber(redis.call('LINDEX', key, some - 1)) < oldest_number() do
      redis.call('LTRIM', key, some, -1)
      left = left - some
    end
  end
  keep_alive(key, journal_life_ms, renew, length, #added)
end

for place, topic in ipairs(topics) do
  local name, offset, places, renew = unpack(topic)
  local recent, index = base .. 'last:' .. name, base .. 'index:' .. name
  if offset == 0 then
    -- The offset may be gone before the buffer and the index (expiry, eviction), and these end with the topic's offset.
    redis.call('DEL', recent, index)
  end
  redis.call('INCRBY', offset_keys[place], #places)
  keep_alive(offset_keys[place], offset_life_ms, renew, offset, 0)
  keep_recent(recent, places, renew)
  index_numbers(index, offset, places, renew)
end

local standing = {'number', digits(number)}
if cursor ~= '' then
  standing[3], standing[4] = 'cursor:' .. source, cursor
end
redis.call('HSET', KEYS[1], unpack(standing))
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
rejected_count = tonumber(rejected_count)
for _ = 1, rejected_count do
  local from, field, reason, document, at, size = take(), take(), take(), take(), take(), take()
  redis.call('XADD', KEYS[3], '*',
    'source', from, 'field', field, 'reason', reason, 'document', document, 'at', at, 'size', size)
  rejected_bytes = rejected_bytes + #document
end
if rejected_count > 0 then
  bound_dead_letters(rejected_bytes)
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

local execution_life_ms, most, most_per_topic = take(), tonumber(take()), tonumber(take())
local states, listings = unpack(cmsgpack.unpack(take()))
for _, execution in ipairs(states) do
  redis.call('SET', base .. 'execution:' .. execution[1], execution[2], 'PX', execution_life_ms)
end
for _, topic in ipairs(listings) do
  local name, members, renew = unpack(topic)
  local listing, added = base .. 'executions:' .. name, 0
  for first = 1, #members, MOST_ARGUMENTS do
    local upto = math.min(first + MOST_ARGUMENTS - 1, #members)
    added = added + redis.call('ZADD', listing, unpack(members, first, upto))
  end
  if added > 0 and name == 'all' then
    forget_executions(listing, most)
  elseif added > 0 then
    redis.call('ZREMRANGEBYRANK', listing, 0, -most_per_topic - 1)
  end
  if renew or added > 0 then
    redis.call('PEXPIRE', listing, execution_life_ms)
  end
end

-- All is written: who hears of it can read it. A user who may not publish has the step taken all the same, and learns of it.
local channel, told = take(), 0
while channel and arg < #ARGV do
  told = 1
  if type(redis.pcall('PUBLISH', channel, take())) == 'table' then
    return {'ok', 0}
  end
end
return {'ok', told}
