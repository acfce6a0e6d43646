-- Puts a job in, unless this very one was put in before; then 0.
-- KEYS: stream, what is known of the job. ARGV: digest, 0 to put it in anyway, seconds for which it is known,
-- fields.

if ARGV[2] ~= '0' and redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 4))
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[3])
return 1
