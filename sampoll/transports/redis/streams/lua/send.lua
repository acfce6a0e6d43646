-- Adds a job to the stream; returns 0, and does nothing, if the same job was added before.
-- KEYS: stream, key of the digest that is kept of the job. ARGV: digest, 0 to add the job anyway, seconds for
-- which the digest is kept, fields.

if ARGV[2] ~= '0' and redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 4))
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[3])
return 1
