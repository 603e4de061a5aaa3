"""Where a model lies, whether it is what it claims to be, and how it is to be asked."""
