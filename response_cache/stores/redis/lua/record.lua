-- The first part of every script: finds the record, by the clock of the server. Finding writes nothing.
local SNAPSHOT, META, LOG, REQUEST, TOMBSTONE = unpack(KEYS)
local PARTS = {SNAPSHOT, META, LOG, REQUEST}
local CLAIM = string.sub(LOG, 1, -4) .. 'claim' -- a channel; the other channel has the name of the log

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000) -- all times are in milliseconds

-- All digits of a number: tostring() rounds after 14.
local function digits(number)
  return string.format('%.0f', number)
end

local function has_type(key, name)
  return redis.call('TYPE', key).ok == name
end

-- A record is lost when one of its parts is (evicted, expired, overwritten with another type).
local function find()
  local found = redis.pcall('HMGET', META, 'incarnation', 'epoch', 'tail', 'token', 'closed',
    'lease_ends', 'expires', 'log_expires', 'ttl', 'kept_until', 'lease')
  if found.err or not found[1] then return nil end
  local record = {
    incarnation = found[1],
    epoch = tonumber(found[2]),
    tail = tonumber(found[3]),
    token = found[4],
    closed = found[5] == '1',
    lease_ends = tonumber(found[6]),
    expires = tonumber(found[7]),
    log_expires = tonumber(found[8]) or math.huge,
    ttl = tonumber(found[9]),
    kept_until = tonumber(found[10]),
    lease = tonumber(found[11]),
  }
  if now >= record.expires then return nil end
  if not (has_type(SNAPSHOT, 'string') and has_type(REQUEST, 'string')) then return nil end
  record.log_expired = now >= record.log_expires
  if not record.log_expired and not has_type(LOG, record.tail > 0 and 'stream' or 'none') then return nil end
  return record
end

-- A lease with more than twice its length left was given before the clock was set back: it has ended.
local function is_leased(record)
  return now < record.lease_ends and record.lease_ends <= now + 2 * record.lease
end

-- At maxmemory, a script may go on with any command after a first write that needs no memory.
local function write_at_maxmemory(record)
  redis.call('PEXPIREAT', META, digits(record.kept_until))
end

local function expire_at(keys, deadline)
  for _, key in ipairs(keys) do
    redis.call('PEXPIREAT', key, digits(deadline))
  end
end

-- Adds a renewed lease and life to changes, a list of fields and values of META. The end of an open
-- record moves to no earlier. Keys live a quarter longer than the record is valid, so that most renewals
-- need no other command.
local function hold(record, changes, lease, ttl)
  local life = math.max(ttl, 4 * lease)
  record.expires = math.max(record.expires, now + life)
  if record.expires > record.kept_until then
    record.kept_until = now + 1.25 * life
    expire_at(PARTS, record.kept_until)
  end
  for _, change in ipairs({'lease', digits(lease), 'lease_ends', digits(now + lease),
    'expires', digits(record.expires), 'ttl', digits(ttl), 'kept_until', digits(record.kept_until)}) do
    changes[#changes + 1] = change
  end
end

-- Publishes the position of the record. A failure must not undo what was written: it costs each waiter
-- one question. Returns how many connections received the first message, or 1 where that is unknown.
local function announce(publish, channels, record)
  local position = table.concat({digits(record.epoch), digits(record.tail),
    record.closed and '1' or '0', record.incarnation}, ' ')
  local first
  for _, channel in ipairs(channels) do
    local receivers = redis.pcall(publish, channel, position)
    first = first or (type(receivers) == 'number' and receivers or 1)
  end
  return first
end
