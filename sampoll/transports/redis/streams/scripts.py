"""What happens to a job in one step on the server, so that no second worker can come in between.

All of them check first that the entry still belongs to the worker that calls. Redis 6.2, or Valkey.
"""

_OWNED = """
local function owned(stream, group, consumer, entry)
  local pending = redis.call('XPENDING', stream, group, entry, entry, 1)
  return #pending == 1 and pending[1][2] == consumer
end
"""

BEGIN = (
    _OWNED
    + """
local counts = {}
for i = 3, #ARGV do
  if owned(KEYS[1], ARGV[1], ARGV[2], ARGV[i]) then
    counts[i - 2] = redis.call('HINCRBY', KEYS[2], ARGV[i], 1)
  else
    counts[i - 2] = 0
  end
end
return counts
"""
)
"""KEYS: stream, attempts. ARGV: group, consumer, entries.

Counts an attempt of each; 0 for what is not ours."""

BEAT = (
    _OWNED
    + """
local lost = {}
for i = 3, #ARGV do
  if owned(KEYS[1], ARGV[1], ARGV[2], ARGV[i]) then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
"""
)
"""KEYS: stream. ARGV: group, consumer, entries.

Says that we are alive; returns what is not ours any more."""

COMMIT = (
    _OWNED
    + """
if not owned(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then return 0 end
redis.call('XADD', KEYS[2], 'MINID', '~', ARGV[6], '*', 'id', ARGV[4], 'reply', ARGV[5])
if #ARGV > 6 then redis.call('XADD', KEYS[4], '*', unpack(ARGV, 7)) end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
redis.call('HDEL', KEYS[3], ARGV[3])
return 1
"""
)
"""KEYS: stream, results, attempts, failed. ARGV: group, consumer, entry, job, reply, the oldest result to
keep, and the fields of a dead letter, if it is one.

Publishes the result and ends the job; 0, with nothing done, if it is not ours."""

RELEASE = (
    _OWNED
    + """
local released = 0
for i = 4, #ARGV do
  if owned(KEYS[1], ARGV[1], ARGV[2], ARGV[i]) then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', 86400000, 'JUSTID')
    if i - 4 < tonumber(ARGV[3]) and redis.call('HINCRBY', KEYS[2], ARGV[i], -1) <= 0 then
      redis.call('HDEL', KEYS[2], ARGV[i])
    end
    released = released + 1
  end
end
return released
"""
)
"""KEYS: stream, attempts. ARGV: group, consumer, how many of the entries were begun, entries, those first.

Lets others have them at once, the attempts uncounted."""

SEND = """
if ARGV[2] ~= '0' and redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 4))
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[3])
return 1
"""
"""KEYS: stream, what is known of the job. ARGV: digest, 0 to put it in anyway, seconds for which it is known,
fields.

Puts a job in, unless it was put in before; then 0."""

RETRY = """
if redis.call('XDEL', KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
return 1
"""
"""KEYS: stream, failed. ARGV: dead letter, fields.

Puts a failed job in again; 0 if it is not there any more."""
