-- Adds a batch of events to the stream, once: those that the publisher's cursor has passed were added by an earlier attempt.
-- KEYS: the stream, the cursor. ARGV: the number of the first event, how many events the stream keeps, for how many seconds the
-- cursor is kept, then the events.
local number, reached = tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[2]) or '0')
for i = 4, #ARGV do
  if number > reached then
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'event', ARGV[i])
    reached = number
  end
  number = number + 1
end
redis.call('SET', KEYS[2], string.format('%.0f', reached), 'EX', ARGV[3])
