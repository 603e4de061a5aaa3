"""What the stage notebooks call: each reads tables, works, and writes one table."""
