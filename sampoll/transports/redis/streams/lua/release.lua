-- Releases entries to other consumers at once, and does not count the attempts; returns how many.
-- KEYS: stream, attempts. ARGV: group, consumer, how many of the entries were begun, entries, those first.

local released = 0
for i = 4, #ARGV do
  if owner(KEYS[1], ARGV[1], ARGV[i]) == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', 86400000, 'JUSTID')
    if i - 4 < tonumber(ARGV[3]) and redis.call('HINCRBY', KEYS[2], ARGV[i], -1) <= 0 then
      redis.call('HDEL', KEYS[2], ARGV[i])
    end
    released = released + 1
  end
end
return released
