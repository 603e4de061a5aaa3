"""The proofs that the kernel will install and start, a module each with `prove`; none uses a network."""
