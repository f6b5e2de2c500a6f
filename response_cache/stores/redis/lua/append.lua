-- Writes for the holder of the claim alone, in order, each batch once: all of an append, or nothing.
local incarnation, epoch, tail, batch = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local count, block, given = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local snapshot, status, notes = ARGV[8], ARGV[9], ARGV[10]
local lease, ttl, log_ttl, publish = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13]), ARGV[14]

local function is_given(letter)
  return string.find(given, letter, 1, true)
end

if redis.call('EXISTS', TOMBSTONE) == 1 then return {'deleted'} end
local record = find()
if not record then return {'missing'} end
if record.incarnation ~= incarnation or record.epoch ~= epoch then
  return {'fenced', digits(record.epoch)}
end
local is_repeated = batch ~= '' and batch == record.batch
if not is_repeated then
  if record.closed then return {'closed'} end
  if record.tail ~= tail then return {'gap', digits(record.tail)} end
elseif record.closed then
  return {'done', record.tail}
end

local closes = not is_repeated and is_given('c')
local changes = {}
local function change(field, value)
  changes[#changes + 1] = field
  changes[#changes + 1] = value
end

-- Allowed at maxmemory: a closing append, which frees more than it takes, and a heartbeat.
if closes then
  write_at_maxmemory(record)
  if is_given('s') then redis.call('UNLINK', SNAPSHOT) end
elseif is_repeated or (count == 0 and not is_given('s') and not is_given('n')) then
  write_at_maxmemory(record)
end
if not is_repeated then
  if count > 0 then
    record.tail = tail + count
    redis.call('XADD', LOG, digits(record.tail) .. '-0', 'e', block)
    if tail == 0 then expire_at({LOG}, record.kept_until) end
    change('tail', digits(record.tail))
    change('batch', batch)
  end
  if is_given('s') then
    redis.call('SET', SNAPSHOT, snapshot)
    expire_at({SNAPSHOT}, record.kept_until)
    change('through', digits(record.tail - 1))
  end
  if is_given('t') then change('status', status) end
  if is_given('n') then change('notes', notes) end
end
if closes then
  record.closed = true
  record.expires = now + ttl
  record.log_expires = log_ttl and now + log_ttl or math.huge
  expire_at({SNAPSHOT, META, REQUEST}, record.expires)
  expire_at({LOG}, math.min(record.expires, record.log_expires))
  change('closed', '1')
  change('expires', digits(record.expires))
  change('log_expires', log_ttl and digits(record.log_expires) or '')
else
  renew(record, changes, lease, ttl)
end
redis.call('HSET', META, unpack(changes))
local receivers = 1
if closes then
  announce(publish, {LOG, CLAIM}, record)
elseif record.tail > tail and not is_repeated then
  receivers = announce(publish, {LOG}, record)
end
return {'done', record.tail, receivers}
