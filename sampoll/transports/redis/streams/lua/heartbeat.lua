-- Renews the caller's lease of its entries; returns the entries that are not the caller's any more.
-- KEYS: stream. ARGV: group, consumer, entries.

local lost = {}
for i = 3, #ARGV do
  if owner(KEYS[1], ARGV[1], ARGV[i]) == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
