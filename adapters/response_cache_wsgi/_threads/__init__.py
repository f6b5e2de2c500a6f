"""The way between the threads of a sync server and our one event loop."""
