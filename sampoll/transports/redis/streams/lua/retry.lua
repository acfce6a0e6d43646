-- Adds a failed job to the stream again; returns 0 if it is not among the failed jobs any more.
-- KEYS: stream, failed. ARGV: the entry of the failed job, fields.

if redis.call('XDEL', KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
return 1
