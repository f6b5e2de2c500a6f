-- Writes for the holder of the claim alone, in order, each append once: all of it, or nothing.
local incarnation, epoch, tail, token = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local count, block = tonumber(ARGV[5]), ARGV[6]
local lease, ttl, publish, letters = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9], ARGV[10]

-- What else is given, each under its letter: s(napshot), (s)t(atus), n(otes), p(rivate). With c(lose)
-- comes the life of the log, or an empty word.
local given = {}
for index = 1, #letters do
  given[string.sub(letters, index, index)] = ARGV[10 + index]
end

if redis.call('EXISTS', TOMBSTONE) == 1 then return {'deleted'} end
local record = find()
if not record then return {'missing'} end
if record.incarnation ~= incarnation or record.epoch ~= epoch then
  return {'fenced', digits(record.epoch)}
end
local is_repeated = token ~= '' and token == record.token
if not is_repeated then
  if record.closed then return {'closed'} end
  if record.tail ~= tail then return {'gap', digits(record.tail)} end
elseif record.closed then
  return {'done', record.tail}
end

local closes = given.c and not is_repeated
local changes = {}
local function change(field, value)
  changes[#changes + 1] = field
  changes[#changes + 1] = value
end

-- Refused at maxmemory: events alone. Heartbeats and ends always go.
if closes or is_repeated or count == 0 then write_at_maxmemory(record) end
if not is_repeated then
  if count > 0 then
    record.tail = tail + count
    redis.call('XADD', LOG, digits(record.tail) .. '-0', 'e', block)
    if tail == 0 then expire_at({LOG}, record.kept_until) end
    change('tail', digits(record.tail))
    change('token', token)
  end
  if given.s then
    redis.call('SET', SNAPSHOT, given.s)
    expire_at({SNAPSHOT}, record.kept_until)
    change('through', digits(record.tail - 1))
  end
  if given.t then change('status', given.t) end
  if given.n then change('notes', given.n) end
  if given.p and not closes then change('private', given.p) end
end
if closes then
  record.closed = true
  record.expires = now + ttl
  record.log_expires = now + math.min(ttl, tonumber(given.c) or ttl)
  expire_at({SNAPSHOT, META, REQUEST}, record.expires)
  expire_at({LOG}, record.log_expires)
  change('closed', '1')
  change('expires', digits(record.expires))
  change('log_expires', digits(record.log_expires))
else
  hold(record, changes, lease, ttl)
end
redis.call('HSET', META, unpack(changes))
if closes then redis.call('HDEL', META, 'private') end
local receivers = 1
if closes then
  announce(publish, {LOG, CLAIM}, record)
elseif record.tail > tail and not is_repeated then
  receivers = announce(publish, {LOG}, record)
end
return {'done', record.tail, receivers}
