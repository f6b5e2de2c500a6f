-- The second part of the scripts that read a whole record: one consistent view of it, as of now.
local CHUNK = 64

-- The entries with the events numbered first and above, as pairs: the number after the entry's last
-- event, and its block. The id of an entry is the number after its last event, too.
local function entries(first, limit)
  local found, from, goal = {}, first + 1, first + (limit or math.huge)
  while true do
    local chunk = redis.call('XRANGE', LOG, digits(from), '+', 'COUNT', CHUNK)
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

-- after and limit are those of Store.read; after is nil for the snapshot and the events behind it.
local function view(record, after, limit)
  local rest = redis.call('HMGET', META, 'status', 'header', 'notes', 'through')
  local first = (after or tonumber(rest[4])) + 1
  local blocks = {}
  if first < record.tail and not record.log_expired then blocks = entries(first, limit) end
  return {
    record.incarnation, digits(record.epoch), rest[1], rest[2], rest[3], rest[4],
    digits(record.tail), record.closed and 1 or 0,
    (not record.closed and not is_leased(record)) and 1 or 0,
    record.log_expired and 1 or 0,
    not after and redis.call('GET', SNAPSHOT),
    blocks,
  }
end
