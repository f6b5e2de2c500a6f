"""Folds the events of a log into a Response."""
