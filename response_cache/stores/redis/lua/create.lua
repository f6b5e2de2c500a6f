-- Makes a record under one incarnation, once. A deleted id and an id of another incarnation are refused.
local incarnation, epoch, header, status = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local snapshot, request, tail, block = ARGV[5], ARGV[6], tonumber(ARGV[7]), ARGV[8]
local lease, ttl, publish = tonumber(ARGV[9]), tonumber(ARGV[10]), ARGV[11]
local FIRST_OPTIONAL = 12 -- private, owner, label: fields that are left out where they are empty

if redis.call('EXISTS', TOMBSTONE) == 1 then return {'deleted'} end
local record = find()
if record then
  if record.incarnation ~= incarnation then return {'exists'} end
  if record.epoch > epoch then return {'fenced', digits(record.epoch)} end
  if not record.closed then
    local is_raised = record.epoch < epoch
    record.epoch = epoch
    local changes = {'epoch', digits(epoch)}
    write_at_maxmemory(record)
    hold(record, changes, lease, ttl)
    redis.call('HSET', META, unpack(changes))
    if is_raised then announce(publish, {LOG, CLAIM}, record) end
  end
  return {'done', record.epoch, record.tail}
end

-- First the write that needs memory: at maxmemory nothing is written, and nothing is removed.
redis.call('SET', REQUEST, request)
redis.call('UNLINK', SNAPSHOT, META, LOG) -- what is left of a lost record
redis.call('SET', SNAPSHOT, snapshot)
if tail > 0 then redis.call('XADD', LOG, digits(tail) .. '-0', 'e', block) end
local changes = {
  'incarnation', incarnation, 'epoch', digits(epoch), 'status', status, 'header', header, 'notes', '',
  'tail', digits(tail), 'through', digits(tail - 1), 'token', '', 'closed', '0', 'log_expires', '',
}
for index, field in ipairs({'private', 'owner', 'label'}) do
  local value = ARGV[FIRST_OPTIONAL + index - 1]
  if value ~= '' then
    changes[#changes + 1] = field
    changes[#changes + 1] = value
  end
end
redis.call('HSET', META, unpack(changes))
changes = {}
hold({kept_until = 0, expires = 0}, changes, lease, ttl)
redis.call('HSET', META, unpack(changes))
return {'done', epoch, tail}
