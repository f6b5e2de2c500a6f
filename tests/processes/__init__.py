"""Several processes over one store, and processes that die."""
