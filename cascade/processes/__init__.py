"""Processes: a pool of them, the whole tree of one, and the GPUs that they hold."""
