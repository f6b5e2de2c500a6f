"""One response being made: from the upstream's bytes to the store."""
