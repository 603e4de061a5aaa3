"""Values beside names that say secret (`WANDB_API_KEY=…`, `os.environ["X_TOKEN"] = "…"`), and logins in addresses.

What is called so by chance (`pad_token`, `sort_key`, `"key": "value"`) is told by how much the name says: one that can
mean nothing else makes a secret of every value, any other only of a value that looks drawn by lot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

CODE = (".py", ".ipynb")  # where a value without quotes is an expression
WORDS = rb"key|token|secret|passw(?:or)?d|passphrase|passwd|pass|pwd|credential"
QUOTE = rb"""(?:\\{0,4}(?:"{3}|'{3})|(?:\\{0,4}"){3}|\\{0,4}["'])"""
# A word of the above within a name, what gives it a value, the value. Nothing repeats without a bound.
NAMED = re.compile(
    rb"(?P<core>" + WORDS + rb")(?P<rest>[A-Za-z0-9_-]{0,40}+)"
    rb"(?:" + QUOTE + rb")?+[ \t]{0,20}+(?P<index>\][ \t]{0,20}+)?+"
    rb"(?P<sep>:?=(?![=>])|=>|:[ \t]{0,20}[A-Za-z_][\w.| \[\]]{0,40}+=(?!=)|:(?![:/])|,|(?<=[ \t]))"
    rb"[ \t]{0,40}+(?:[\[(][ \t\r\n]{0,40}+)?+[rbufRBUF]{0,2}"
    rb"(?:(?P<quote>" + QUOTE + rb")\r?\n?(?P<quoted>[^\"'\\\r\n]{1,200}+)|(?P<bare>[^\s\"'\\`,;()\[\]{}&<>#]{1,200}+))"
    rb"(?P<after>[(\[.{]?)",
    re.IGNORECASE,
)
URL = re.compile(
    rb"\b[a-z][a-z0-9+.-]{1,20}://(?P<user>[^\s/:@\"'<>\\]{0,200})(?P<login>:[^\s/@\"'<>\\]{1,200})?@", re.I
)
# What is given to a login, without a name beside it: hf's and wandb's, a header, curl's and docker's options.
GIVEN = re.compile(
    rb"\blogin(?:\([ \t\r\n]{0,9}+[rbufRBUF]{0,2}" + QUOTE + rb"|[ \t]{1,9}+)(?P<key>[A-Za-z0-9_-]{16,200}+)"
    rb"|\b(?:bearer|basic)[ \t]{1,4}+(?P<header>[A-Za-z0-9_+/=-]{16,4000}+)"
    rb"|\bcurl\b[^\r\n]{0,200}?[ \t](?:-u|--user)(?:[ \t]{1,4}+|=)[^\s:\"'\\]{1,60}+:(?P<user>[^\s\"'\\]{1,200}+)"
    rb"|\blogin\b[^\r\n]{0,80}?[ \t]-p[ \t]{1,4}+(?P<option>[^\s\"'\\-][^\s\"'\\]{3,200}+)",
    re.IGNORECASE,
)
OF_NAMES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
LONGEST = 64  # characters of a name before its word
LAID = re.compile(
    rb"(?:(?:environ|env|getenv|putenv|setenv|setdefault|get|environment|export|set|-e)[\[( \t]{1,4}(?:"
    + QUOTE
    + rb")?|\$env:|\benv(?:iron)?(?:\.update\(|[ \t]?\|?=)[^()\r\n]{0,50})\Z",
    re.IGNORECASE,
)
LOGIN = re.compile(rb"\blogin\([^()\r\n]{0,50}\Z", re.IGNORECASE)
CALL = re.compile(rb"(?:getenv|putenv|setenv|setdefault|environ\.get)\([ \t]{0,4}" + QUOTE + rb"\Z")
SPACED = re.compile(rb"(?:%(?:set_)?env|\blogin[ \t]{1,20}\S{1,60})[ \t]{1,20}\Z")  # a notebook's, .netrc's
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")  # config.api_key

ALWAYS = ("secret", "password", "passwd", "passphrase", "apikey", "authtoken", "accesstoken", "accesskey", "privatekey")
CORES = ("key", "token", "pass", "pwd", "credential")
# Before KEY and TOKEN, these leave no doubt: what it opens, and who gave it.
OPENS = {
    "access", "account", "api", "app", "auth", "bearer", "bot", "client", "deploy", "encryption", "id", "login",
    "master", "oauth", "personal", "private", "refresh", "session", "signing", "user", "write", "read",
    "anthropic", "aws", "azure", "comet", "gh", "github", "gitlab", "google", "hf", "hub", "huggingface", "kaggle",
    "mistral", "neptune", "ngrok", "npm", "openai", "pypi", "slack", "telegram", "wandb",
}  # fmt: skip
# After the word, these say that the value is about the secret.
ABOUT = {
    "file", "path", "name", "dir", "url", "uri", "type", "env", "var", "variable", "length", "len", "size", "index",
    "column", "field", "prompt", "error", "message", "help", "hint", "id", "ids", "pattern", "format", "header",
    "prefix",
}  # fmt: skip
SPECIAL = {
    "pad", "eos", "bos", "unk", "sep", "cls", "mask", "image", "audio", "video", "boi", "eoi", "eot", "eom", "special",
    "begin", "end", "start", "stop", "first", "last", "next", "new", "prefix", "suffix", "vision", "tool",
}  # fmt: skip
NO_VALUE = re.compile(
    r"(?P<one>.)(?P=one)*|none|null|nil|true|false|yes|no|str|int|float|bool|bytes|string|self|optional|required|any|"
    r"\d{1,5}|\$\w+|\$[({].*|%\w+%|[{<\[].*|(?:env|secrets?|vault|os)[.:].*",
    re.IGNORECASE,
)
STAND_IN = re.compile(r"…|\.\.\.|\*\*\*|xxx|your[-_ ]|placeholder|change[-_]?me|redacted|dummy", re.IGNORECASE)
NAME_OF_ONE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|[A-Z_]+=[a-z]*")


def find(text: bytes, code: bool) -> tuple[int, str] | None:
    """Where the first such value's name begins, and what to call it; `code`: a text of CODE. Never the value."""
    for start, name in _values(text, code):
        return start, f"the value of {name}"
    for match in URL.finditer(text):
        login = (match["login"] or b"")[1:].decode(errors="replace")
        if (login and not _is_none(login)) or (not login and _is_drawn(match["user"].decode(errors="replace"))):
            return match.start(), "a login in an address"
    for match in GIVEN.finditer(text):
        value = next(each for each in match.groups() if each).decode(errors="replace")
        if not _is_none(value) and (_is_drawn(value) or not (match["key"] or match["header"])):
            return match.start(), "what is given to a login"
    return None


def _values(text: bytes, code: bool) -> Iterator[tuple[int, str]]:
    at = 0
    while match := NAMED.search(text, at):
        at = match.end("core")  # what it took as a value may hold the next name
        start = match.start() - LONGEST if match.start() > LONGEST else 0
        start += len(text[start : match.start()].rstrip(OF_NAMES))
        name = text[start : match.end("rest")].decode()
        value = (match["quoted"] or match["bare"]).decode(errors="replace").strip()
        if _is_secret(name, value, text, start, match, code):
            yield start, name.strip(".-")


def _is_secret(name: str, value: str, text: bytes, start: int, match: re.Match[bytes], code: bool) -> bool:
    quoted, sep, around = match["quoted"] is not None, match["sep"].strip(), text[max(0, start - 60) : start]
    last, flag = name.rpartition(".")[2].strip("-"), name.startswith("--")
    if sep == b"," and flag:  # a command's words; beside an option's declaration stand its other names
        return quoted and _sureness(last) > 0 and bool(re.fullmatch(r"(?=.*\d)\w{8,}", value))
    if sep == b"," and not CALL.search(around):  # a list of names, mostly
        return False
    if not sep and not (flag or SPACED.search(around)):
        return False
    sure, drawn = _sureness(last), _is_drawn(value)
    if (sure == 0 and not drawn) or not value or _is_none(value):
        return False
    if drawn and (quoted or not match["after"]):
        return _has_word(last)
    variable = last.isupper() and "_" in last
    laid = bool(match["index"] or LAID.search(around) or not sep)
    if not quoted:
        tight = variable and text[match.end("rest") : match.start("bare")] == b"="  # as a shell has it
        number = sure == 3 and value.isdigit()
        laid = laid or flag
        if code and match["index"] and sep == b"=" and _is_variable(value):
            return False
        if match["after"] or (code and not (laid or tight or number)) or DOTTED.fullmatch(value):
            return False
        laid |= tight
    if len(value) < 4:
        return False
    if quoted and " " in value:  # a sentence, but for a passphrase
        return sure == 3 and "pass" in last.lower() and b"=" in sep
    if sure == 3:  # in prose a word after a colon is no password
        return quoted or not sep.startswith(b":") or "_" in last or not value.isalpha()
    if (
        sure == 2
        or (flag and last == "token")
        or (quoted and LOGIN.search(around))
        or (variable and (laid or not code))
    ):
        return not value.isdigit()
    digits = sum(map(str.isdigit, value))
    return 2 <= digits < len(value) and re.fullmatch(r"[^\s_.:/|<>\[\]]{8,}", value) is not None


def _words(name: str) -> list[str]:
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return [word.rstrip("0123456789") for word in re.split(r"[^A-Za-z0-9]+", parted.lower()) if word]


@lru_cache(1 << 12)
def _has_word(name: str) -> bool:
    return any(_single(word) in CORES or _single(word).endswith((*ALWAYS, "token")) for word in _words(name))


def _single(word: str) -> str:
    return word if word.endswith("pass") else word.removesuffix("s")


@lru_cache(1 << 12)
def _sureness(name: str) -> int:
    """0: no secret's name, or only by the value's looks; 1: may be one; 2: likely; 3: can be nothing else."""
    words = [word for word in _words(name) if word]
    at = next((n for n in reversed(range(len(words))) if _has_word(words[n])), None)
    if at is None or any(word in ABOUT for word in words[at + 1 :]):
        return 0
    word, before = words[at], set(words[:at])
    if _single(word).endswith(ALWAYS):
        return 3
    if before & SPECIAL or (word == "token" and set(words[at + 1 :]) & {"ids", "types"}):
        return 0
    if before & (OPENS - {"id"} if word == "key" else OPENS) or any(
        _single(word) == f"{opens}{core}" for opens in OPENS for core in CORES
    ):
        return 2
    return 0 if _single(word) != word or (not before and word != "token") else 1


def _is_none(value: str) -> bool:
    """Whether a value says that there is none here: a placeholder, a reference, the name of a variable."""
    return bool(NO_VALUE.fullmatch(value) or NAME_OF_ONE.fullmatch(value) or STAND_IN.search(value))


def _is_variable(value: str) -> bool:
    """Whether a value without quotes in a program is one of its names, such as hf_token, and no pasted text."""
    return re.fullmatch(r"[a-z_]+|[A-Z_]+", value) is not None and not _is_drawn(value)


def _is_drawn(value: str) -> bool:
    """Whether a value looks drawn by lot: hexadecimal, or letters of both cases and digits without a pause."""
    if re.fullmatch(r"[0-9a-fA-F]{16,}", value):
        return not value.isdigit() and not value.isalpha()
    return (
        re.fullmatch(r"[A-Za-z0-9+/=_-]{16,}", value) is not None
        and sum(map(str.isdigit, value)) >= 2
        and re.search(r"[a-z]", value) is not None
        and re.search(r"[A-Z]", value) is not None
    )
