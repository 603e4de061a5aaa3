"""The rehearsal: the very bundle, run as Kaggle's kernel would run it, on a Linux machine without a network.

Linux's namespaces make the room (`room`, `inside`); strace or an audit hook sees what is tried in it (`traces`,
`hook`).
"""
