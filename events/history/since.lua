-- Reads on in one topic: entries with offsets above the one given, from the recent buffer where that reaches back far
-- enough, else by the topic's index from the journal. Writes nothing, so that a Redis without memory serves it.
--
-- KEYS  history (hash)
-- ARGV  what the keys of all epochs begin with, topic, offset, most entries, most bytes of documents (one comes in any case)
-- Reply {epoch, the topic's offset, documents}, or {} when there is no history

local root, topic = ARGV[1], ARGV[2]
local after, limit, most_bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

-- Documents are big and Lua's memory is not freed at once: few at a time are fetched.
local CHUNK = 16

local function digits(number)
  return string.format('%.0f', number)
end

local epoch, number = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'number'))
if not epoch then
  return {}
end
local base = root .. epoch .. ':'
local journal, recent, index = base .. 'journal', base .. 'last:' .. topic, base .. 'index:' .. topic
local last = topic == 'all' and number or redis.call('GET', base .. 'offset:' .. topic)
last = tonumber(last or '0')
local reply = {epoch, digits(last)}
if after >= last or limit < 1 then
  return reply
end

local bytes = 0
local function add(document)
  local full = #reply - 2 >= limit or (#reply > 2 and bytes + #document > most_bytes)
  if not full then
    reply[#reply + 1] = document
    bytes = bytes + #document
  end
  return not full
end

local function number_of(entry)
  return tonumber(string.match(entry[1], '^%d+'))
end

-- The number of the journal's first entry from `from` on.
local function first_from(from)
  local found = redis.call('XRANGE', journal, digits(from) .. '-0', '+', 'COUNT', 1)
  return found[1] and number_of(found[1])
end

-- Adds the journal's entries from `from` on, as far as their numbers follow each other.
local function read_journal(from)
  while true do
    local found = redis.call('XRANGE', journal, digits(from) .. '-0', '+', 'COUNT', math.min(CHUNK, limit))
    for _, entry in ipairs(found) do
      if number_of(entry) ~= from or not add(entry[2][2]) then
        return
      end
      from = from + 1
    end
    if #found == 0 then
      return
    end
  end
end

local function number_at(place)
  return tonumber(redis.call('LINDEX', index, place))
end

-- The first place in the index, at `place` or later, of an entry that the journal still has; `length` when there is none.
local function first_place(place, length)
  local oldest = first_from(0)
  if not oldest then
    return length
  end
  local beyond = length
  while place < beyond do
    local middle = math.floor((place + beyond) / 2)
    if number_at(middle) < oldest then
      place = middle + 1
    else
      beyond = middle
    end
  end
  return place
end

local function read_index(place, length)
  while place < length do
    local numbers = redis.call('LRANGE', index, place, place + CHUNK - 1)
    for _, position in ipairs(numbers) do
      local id = position .. '-0'
      local found = redis.call('XRANGE', journal, id, id)
      if not found[1] or not add(found[1][2][2]) then
        return
      end
    end
    place = place + #numbers
  end
end

-- The recent buffer ends with the entry that has the topic's offset. Adds its entries from the offset `from` on.
local in_buffer = redis.call('LLEN', recent)
local function read_recent(from)
  local place = from - (last - in_buffer) - 1
  while place < in_buffer do
    for _, document in ipairs(redis.call('LRANGE', recent, place, place + CHUNK - 1)) do
      if not add(document) then
        return
      end
    end
    place = place + CHUNK
  end
end

if topic == 'all' then
  local first = first_from(after + 1)
  if first then
    read_journal(first)
  end
  return reply
end

local in_recent = in_buffer > 0 and math.max(after, last - in_buffer) + 1
if in_recent == after + 1 then
  read_recent(in_recent)
  return reply
end
-- The index ends with the entry that has the topic's offset, too.
local length = redis.call('LLEN', index)
local place = first_place(math.max(0, after - (last - length)), length)
local in_journal = last - length + place + 1
if place < length and (not in_recent or in_journal < in_recent) then
  read_index(place, length)
elseif in_recent then
  read_recent(in_recent)
end
return reply
