"""The rehearsal: the very bundle, run as Kaggle's kernel would run it, on a Linux machine without a network.

Linux's namespaces make the sandbox (`sandbox`, `sandbox_init`); strace or an audit hook sees what is tried in it
(`strace_log`, `audit_log`).
"""
