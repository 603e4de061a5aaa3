"""All that talks to Kaggle."""
