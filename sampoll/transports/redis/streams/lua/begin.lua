-- Counts an attempt of each entry, and returns its number; 0 for an entry that is not the caller's. A call that
-- is repeated because its answer was lost counts nothing more.
-- KEYS: stream, attempts. ARGV: group, consumer, and for each entry: the entry, the number of the attempt.

local counts = {}
for i = 3, #ARGV, 2 do
  if owner(KEYS[1], ARGV[1], ARGV[i]) == ARGV[2] then
    local counted = tonumber(redis.call('HGET', KEYS[2], ARGV[i]) or 0)
    local missing = math.max(tonumber(ARGV[i + 1]) - counted, 0)
    if missing > 0 then redis.call('HINCRBY', KEYS[2], ARGV[i], missing) end
    counts[#counts + 1] = counted + missing
  else
    counts[#counts + 1] = 0
  end
end
return counts
