-- Whether an entry is in the pending list of a consumer. Stands before the scripts that look first whose an
-- entry is.

local function owned(stream, group, consumer, entry)
  local pending = redis.call('XPENDING', stream, group, entry, entry, 1)
  return #pending == 1 and pending[1][2] == consumer
end
