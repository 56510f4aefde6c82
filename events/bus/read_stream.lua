-- Reads on in the bus's stream, and says how the stream stands at the same moment. Writes nothing.
--
-- KEYS  stream
-- ARGV  id to read after, most entries, most bytes of documents (one comes in any case), field of the document, id of the
--       entry that was last told as the oldest one, field that makes an entry a canary
-- Reply {} when there is no such stream, else
--       {entries ever added ('' on a Redis that does not count them), length, last id ever given out, id of the oldest entry
--        ('' when there is none), its document ('' when it is the one that was told), 1 when the end was reached else 0,
--        then per entry: id, document ('' when it lacks the field; the number 1 for a canary)}

local stream, after = KEYS[1], ARGV[1]
local limit, most_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
local field, told, canary = ARGV[4], ARGV[5], ARGV[6]

-- Documents are big and Lua's memory is not freed at once: few at a time are fetched.
local CHUNK = 16

local function document_of(entry)
  for place = 1, #entry[2], 2 do
    if entry[2][place] == field then
      return entry[2][place + 1]
    end
  end
  return ''
end

local facts = {}
local info = redis.pcall('XINFO', 'STREAM', stream)
if info.err then
  return redis.call('EXISTS', stream) == 0 and {} or info
end
for place = 1, #info, 2 do
  facts[info[place]] = info[place + 1]
end
local oldest = facts['first-entry'] or nil
local oldest_id = oldest and oldest[1] or ''
local added = facts['entries-added']
local reply = {
  added and string.format('%.0f', added) or '',
  facts['length'],
  facts['last-generated-id'],
  oldest_id,
  (oldest and oldest_id ~= told) and document_of(oldest) or '',
  1,
}

local count, bytes = 0, 0
while after ~= facts['last-generated-id'] do
  local found = redis.call('XREAD', 'COUNT', math.min(CHUNK, limit - count + 1), 'STREAMS', stream, after)
  if not found then
    return reply
  end
  for _, entry in ipairs(found[1][2]) do
    local document = document_of(entry)
    bytes = bytes + #document
    if count >= limit or (count > 0 and bytes > most_bytes) then
      reply[6] = 0
      return reply
    end
    count = count + 1
    reply[#reply + 1] = entry[1]
    reply[#reply + 1] = entry[2][1] == canary and 1 or document
    after = entry[1]
  end
end
return reply
