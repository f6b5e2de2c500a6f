-- Begins the scripts that read: one consistent view of a record, as of this moment.
local CHUNK = 64

-- The entries that hold events from number first on: pairs of the number after the entry's last and
-- its block. An entry's id is the number after its last one.
local function entries(first, limit)
  local found, from, goal = {}, first + 1, first + (limit or math.huge)
  while true do
    local chunk = redis.call('XRANGE', LOG, whole(from), '+', 'COUNT', CHUNK)
    for _, entry in ipairs(chunk) do
      local after_last = string.match(entry[1], '^%d+')
      found[#found + 1] = after_last
      found[#found + 1] = entry[2][2]
      from = tonumber(after_last) + 1
      if from > goal then return found end
    end
    if #chunk < CHUNK then return found end
  end
end

local function page(record, after, limit)
  local rest = redis.call('HMGET', META, 'status', 'header', 'notes', 'through')
  local first = (after or tonumber(rest[4])) + 1
  local blocks = {}
  if first < record.tail and not record.log_expired then blocks = entries(first, limit) end
  return {
    record.incarnation, whole(record.epoch), rest[1], rest[2], rest[3], rest[4],
    whole(record.tail), record.closed and 1 or 0,
    (not record.closed and not is_leased(record)) and 1 or 0,
    record.log_expired and 1 or 0,
    not after and redis.call('GET', SNAPSHOT),
    blocks,
  }
end
