-- The consumer that has an entry in its pending list; nil if none has it. This is prepended to the scripts that
-- first check the owner of an entry.

local function owner(stream, group, entry)
  local pending = redis.call('XPENDING', stream, group, entry, entry, 1)
  return pending[1] and pending[1][2]
end
