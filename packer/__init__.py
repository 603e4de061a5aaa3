"""What runs before a push: it proves what the kernel will meet."""
