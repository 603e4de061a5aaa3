"""Retrievers: from a query to scores for all labels, and to a table of the best."""
