"""The conductor, stage after stage, and what it looks at before the first one."""
