"""How the events of a log are kept: in batches, with runs of deltas in a short form."""
