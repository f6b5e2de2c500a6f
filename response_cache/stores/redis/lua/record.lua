-- Begins every script: finds the record as it is at the server's time. Nothing is written by finding it.
local SNAPSHOT, META, LOG, REQUEST, TOMBSTONE = unpack(KEYS)
local PARTS = {SNAPSHOT, META, LOG, REQUEST}
local CLAIM = string.sub(LOG, 1, -4) .. 'claim' -- a channel; the log's is called like the log

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function whole(number)
  return string.format('%.0f', number)
end

local function is(key, kind)
  return redis.call('TYPE', key).ok == kind
end

-- A record that misses a part (evicted, expired, overwritten with another type) is a lost one.
local function find()
  local found = redis.pcall('HMGET', META, 'incarnation', 'epoch', 'tail', 'batch', 'closed',
    'lease_ends', 'expires', 'log_expires', 'ttl', 'kept_until', 'lease')
  if found.err or not found[1] then return nil end
  local record = {
    incarnation = found[1],
    epoch = tonumber(found[2]),
    tail = tonumber(found[3]),
    batch = found[4],
    closed = found[5] == '1',
    lease_ends = tonumber(found[6]),
    expires = tonumber(found[7]),
    log_expires = tonumber(found[8]) or math.huge,
    ttl = tonumber(found[9]),
    kept_until = tonumber(found[10]),
    lease = tonumber(found[11]),
  }
  if now >= record.expires then return nil end
  if not (is(SNAPSHOT, 'string') and is(REQUEST, 'string')) then return nil end
  record.log_expired = now >= record.log_expires
  if not record.log_expired and not is(LOG, record.tail > 0 and 'stream' or 'none') then return nil end
  return record
end

-- A lease that ends later than any could was given before the clock was set back.
local function is_leased(record)
  return now < record.lease_ends and record.lease_ends <= now + 2 * record.lease
end

-- After a write that needs no memory the server refuses no other for want of it.
local function insist(record)
  redis.call('PEXPIREAT', META, whole(record.kept_until))
end

local function keep(parts, deadline)
  for _, key in ipairs(parts) do
    redis.call('PEXPIREAT', key, whole(deadline))
  end
end

-- Adds a renewal to changes of META. Keys are kept a quarter longer than the record is valid, so that
-- most renewals need no other command.
local function renew(record, changes, lease, ttl)
  local life = math.max(ttl, 4 * lease)
  if now + life > record.kept_until then
    record.kept_until = now + 1.25 * life
    keep(PARTS, record.kept_until)
  end
  for _, change in ipairs({'lease', whole(lease), 'lease_ends', whole(now + lease), 'expires', whole(now + life),
    'ttl', whole(ttl), 'kept_until', whole(record.kept_until)}) do
    changes[#changes + 1] = change
  end
end

-- A lost message costs one look more, so it must not undo what was written. Gives back how many
-- connections heard the first channel, 1 where that is not known.
local function tell(publish, channels, record)
  local position = table.concat({whole(record.epoch), whole(record.tail),
    record.closed and '1' or '0', record.incarnation}, ' ')
  local heard
  for _, channel in ipairs(channels) do
    local receivers = redis.pcall(publish, channel, position)
    heard = heard or (type(receivers) == 'number' and receivers or 1)
  end
  return heard
end
