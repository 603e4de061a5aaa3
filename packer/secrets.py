"""Files that look like credentials, which must not be uploaded by mistake: by their names and by what they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

from cascade.errors import CascadeError

NAMES = (
    "kaggle.json", "access_token", ".env", ".env.*", ".netrc", ".pypirc", ".git-credentials", "id_rsa", "id_dsa",
    "id_ecdsa", "id_ed25519", "*.pem", "*.key", "*.p12", "*.pfx", "credentials", "credentials.json",
)  # fmt: skip
# By the prefixes that their issuers publish.
CONTENTS = {
    "a Kaggle token": r"\bKGAT_[0-9A-Za-z]{16,}",
    "a Kaggle key": r"""\\?["']key\\?["']\s*:\s*\\?["'][0-9a-f]{32}\b""",  # a notebook's text is escaped once more
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "an AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a Google key": r"\bAIza[0-9A-Za-z_-]{35}",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
    "an OpenAI or Anthropic key": r"\bsk-(?:proj-|ant-[a-z0-9]+-)?[A-Za-z0-9_]{20,}",
    "a Slack token": r"\bxox[abprs]-[0-9A-Za-z-]{10,}",
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
}
PATTERNS = {what: re.compile(pattern.encode()) for what, pattern in CONTENTS.items()}
LARGEST = 1 << 20  # bytes: what is larger is no file that a person put a token into
PROBE = 8192  # a zero byte among the first so many is no text (git's rule)


class SecretError(CascadeError):
    """A file that looks like a credential; names the file, and the line where it is in the text."""


def check(files: Mapping[str, Path]) -> None:
    """SecretError for the first, by name, that looks like a credential. What was found is never printed."""
    for name, path in sorted(files.items()):
        if any(fnmatch(path.name.lower(), pattern) for pattern in NAMES):
            raise SecretError(f"{path}: looks like a credential by its name; move it away or rename it")
        if path.stat().st_size > LARGEST:
            continue
        text = path.read_bytes()
        if b"\0" in text[:PROBE]:
            continue
        for what, pattern in PATTERNS.items():
            found = pattern.search(text)
            if found:
                line = text.count(b"\n", 0, found.start()) + 1
                raise SecretError(f"{path}: line {line} holds what looks like {what}, and would be uploaded as {name}; "
                                  f"remove it, and revoke it if it ever left this machine")  # fmt: skip
