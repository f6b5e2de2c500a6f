-- Reads how far a record is, and nothing else.
local record = find()
if not record then return {'missing'} end
return {'done', record.incarnation, digits(record.epoch), digits(record.tail), record.closed and 1 or 0}
