"""The Responses API as data: no clock, no store, no I/O."""
