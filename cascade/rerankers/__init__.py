"""Rerankers: from a table of candidates to a ranking, chunk by chunk."""
