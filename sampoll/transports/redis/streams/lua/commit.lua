-- Publishes a result and ends the job; 0, with nothing done, if the entry is not the caller's.
-- KEYS: stream, results, attempts, failed. ARGV: group, consumer, entry, job, reply, the oldest result to keep,
-- and the fields of a failed job, if it is one.

if not owned(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then return 0 end
redis.call('XADD', KEYS[2], 'MINID', '~', ARGV[6], '*', 'id', ARGV[4], 'reply', ARGV[5])
if #ARGV > 6 then redis.call('XADD', KEYS[4], '*', unpack(ARGV, 7)) end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
redis.call('HDEL', KEYS[3], ARGV[3])
return 1
