"""What a run shows: the pictures of the notebooks, and its page."""
