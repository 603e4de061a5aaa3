"""Ranking tables, and what is made of them: fusion, selection, metrics."""
