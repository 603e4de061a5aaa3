"""All that can be found wrong before a run, without loading weights."""
