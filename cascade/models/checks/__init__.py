"""What can be found wrong with a model before a run, without loading its weights."""
