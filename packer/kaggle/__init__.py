"""Everything that talks to Kaggle lies here."""
