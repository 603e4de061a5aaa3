"""What submission.ipynb calls: the checks, the environment, the conductor in it, and what a commit run shows."""
