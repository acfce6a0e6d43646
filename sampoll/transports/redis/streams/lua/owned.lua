-- Whether an entry is in the pending list of a consumer. This is prepended to the scripts that first check
-- the owner of an entry.

local function owned(stream, group, consumer, entry)
  local pending = redis.call('XPENDING', stream, group, entry, entry, 1)
  return #pending == 1 and pending[1][2] == consumer
end
