"""The page of a run: `report.html`, one file that needs nothing beside it, and no network."""
