"""How the events of a log are kept: in batches, and runs of deltas as what differs."""
