-- Reads how far a record is, and nothing else of it: for those who wait.
local record = find()
if not record then return {'missing'} end
return {'done', record.incarnation, whole(record.epoch), whole(record.tail), record.closed and 1 or 0}
