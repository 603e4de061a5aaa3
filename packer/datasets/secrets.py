"""Files that look like credentials, which must not be uploaded by mistake: by their names and by what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

from cascade.base.errors import CascadeError
from packer.datasets import secret_names

NAMES = (
    "kaggle.json", "access_token", "token", "hf_token", ".env", ".env.*", "*.env", ".envrc", ".netrc", "_netrc",
    ".pypirc", ".pgpass", ".htpasswd", ".git-credentials", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.pem",
    "*.key", "*.p12", "*.pfx", "*.ppk", "*.jks", "*.keystore", "*.kdbx", "credentials", "credentials.json",
    "secrets.toml", "secrets.json", "secrets.yaml", "secrets.yml",
)  # fmt: skip
# By the prefixes that their issuers publish. Every repetition is bounded or ends its pattern: linear in the text.
CONTENTS = {
    "a Kaggle token": r"\bKGAT_[0-9A-Za-z]{16}",
    "a Kaggle key": r"""\\?["']key\\?["']\s{0,9}:\s{0,9}\\?["'][0-9a-f]{32}\b""",  # a notebook's text is escaped more
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30}",
    "an AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a Google key": r"\bAIza[0-9A-Za-z_-]{35}",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22})",
    "an OpenAI or Anthropic key": r"\bsk-(?:proj-|ant-[a-z0-9]{1,9}-)?[A-Za-z0-9_]{20}",
    "a Slack token": r"\bxox[abprs]-[0-9A-Za-z-]{10}",
    "a private key": r"-----BEGIN (?:[A-Z]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----",
}
PATTERNS = {what: re.compile(pattern.encode()) for what, pattern in CONTENTS.items()}
BLOCK = 1 << 20  # bytes read at once
OVERLAP = 1 << 12  # bytes: more than any pattern spans, so that none is cut in two between blocks
PROBE = 8192  # a zero byte among the first so many is no text (git's rule)
UTF16 = (b"\xff\xfe", b"\xfe\xff")  # but for these marks


class SecretError(CascadeError):
    """A file that looks like a credential; names the file, and the line where it is in the text."""


def check(files: Mapping[str, Path]) -> None:
    """SecretError for the first, by name, that looks like a credential. What was found is never printed."""
    for name, path in sorted(files.items()):
        called = {path.name.lower(), path.resolve().name.lower()}  # a link may have an innocent name
        if any(fnmatch(each, pattern) for each in called for pattern in NAMES):
            raise SecretError("looks like a credential by its name", path=path, mend="move it away or rename it")
        code = path.suffix in secret_names.CODE
        for before, text in _blocks(path):
            found = _found(text, code)
            if found is not None:
                start, what = found
                line = before + text.count(b"\n", 0, start) + 1
                raise SecretError(
                    f"contains what looks like {what}, and would be uploaded as {name}",
                    path=path,
                    key=f"line {line}",
                    mend="remove it, and revoke it if it ever left this machine",
                )


def _blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """A text in overlapping blocks, each with the number of lines before it; of any other file none."""
    with path.open("rb") as file:
        text = file.read(BLOCK)
        wide = text[:2] in UTF16
        if not wide and b"\0" in text[:PROBE]:
            return
        lines, kept = 0, b""
        while text:
            held = kept + (text.replace(b"\0", b"") if wide else text)
            yield lines, held
            kept = held[-OVERLAP:]
            lines += held.count(b"\n") - kept.count(b"\n")
            text = file.read(BLOCK)


def _found(text: bytes, code: bool) -> tuple[int, str] | None:
    """Where the first credential of its kind begins, and what it looks like."""
    for what, pattern in PATTERNS.items():
        found = pattern.search(text)
        if found:
            return found.start(), what
    return secret_names.find(text, code)
