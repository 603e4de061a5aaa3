"""Option scorers: what an LLM thinks of each of a few answers that are one token long. Two engines."""
