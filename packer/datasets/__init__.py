"""What goes into each dataset, staged and looked through for secrets."""
