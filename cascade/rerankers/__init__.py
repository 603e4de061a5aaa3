"""Rerankers: from a chunk of whole queries and their candidates to a ranking, in a process of a pool."""
