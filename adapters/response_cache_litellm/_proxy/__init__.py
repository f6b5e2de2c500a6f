"""Background responses in LiteLLM's proxy."""
