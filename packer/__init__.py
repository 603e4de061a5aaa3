"""What runs where there is an internet: it proves what the kernel will meet before anything is pushed."""
