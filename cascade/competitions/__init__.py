"""A competition's files: read, checked, made long; and its submission, written and checked."""
