-- Publishes a result and ends the job: 1. Otherwise nothing is done: 0 if another consumer has the entry, -1 if
-- none has it any more.
-- KEYS: stream, results, attempts, failed. ARGV: group, consumer, entry, job, reply, seconds for which results
-- are kept, and the fields of a failed job, if it is one.

local has_it = owner(KEYS[1], ARGV[1], ARGV[3])
if not has_it then return -1 end
if has_it ~= ARGV[2] then return 0 end
local id = redis.call('XADD', KEYS[2], '*', 'id', ARGV[4], 'reply', ARGV[5])
-- By the clock of the server, which is in the ID: the clocks of workers differ.
local oldest = tonumber(string.match(id, '^%d+')) - 1000 * tonumber(ARGV[6])
if oldest > 0 then redis.call('XTRIM', KEYS[2], 'MINID', '~', string.format('%.0f', oldest)) end
if #ARGV > 6 then redis.call('XADD', KEYS[4], '*', unpack(ARGV, 7)) end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
redis.call('HDEL', KEYS[3], ARGV[3])
return 1
