"""The TOML config: its keys, and what is said of a wrong one."""
