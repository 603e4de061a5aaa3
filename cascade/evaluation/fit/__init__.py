"""The ensemble's numbers fitted on labelled runs, by the ranking tables that they left."""
