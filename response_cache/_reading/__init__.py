"""Reads for clients: pages of the log, and live tails that readers share."""
