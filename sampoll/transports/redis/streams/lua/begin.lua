-- Counts an attempt of each entry, and returns its number; 0 for an entry that is not the caller's.
-- KEYS: stream, attempts. ARGV: group, consumer, entries.

local counts = {}
for i = 3, #ARGV do
  if owned(KEYS[1], ARGV[1], ARGV[2], ARGV[i]) then
    counts[i - 2] = redis.call('HINCRBY', KEYS[2], ARGV[i], 1)
  else
    counts[i - 2] = 0
  end
end
return counts
