"""The names and values in a vLLM, read from its source."""
