"""Between the threads of a sync server and the one event loop of ours."""
