"""Retrievers: from a query to scores for all misconceptions, and to a table of the best."""
