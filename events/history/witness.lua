-- Somebody has seen a position. When this epoch's history is behind it, its end was lost, and a new epoch begins.
--
-- KEYS  history (hash)
-- ARGV  seen epoch, seen number, name for a new epoch
-- Reply {epoch, number}: where the history is now

local epoch, number = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'number'))
if not epoch or (epoch == ARGV[1] and tonumber(ARGV[2]) > tonumber(number or '0')) then
  epoch, number = ARGV[3], '0'
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'number', number)
end
return {epoch, number or '0'}
