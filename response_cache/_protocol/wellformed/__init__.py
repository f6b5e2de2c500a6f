"""Read leniently, write strictly: what a well-formed log is, and how any upstream's becomes one."""
