"""The steps of a training as jobs: what each reads, its command, what it leaves; and the runner of what is due."""
