"""A login at Kaggle, and calls that survive a bad network. The login is the kaggle client's own, in its order:

an access token (KAGGLE_API_TOKEN, ~/.kaggle/access_token), KAGGLE_USERNAME and KAGGLE_KEY or kaggle.json, OAuth.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from typing import Any, TypeVar

from cascade.errors import CascadeError

T = TypeVar("T")
LOGIN = "make a token at kaggle.com/settings/api and put it into ~/.kaggle/access_token or KAGGLE_API_TOKEN"
BUSY = (408, 429, 500, 502, 503, 504)
ABSENT = (403, 404)  # Kaggle answers either for what is not there: it does not tell which private slugs exist
LONGEST_PAUSE = 60.0  # seconds between two attempts


class KaggleError(CascadeError):
    """What Kaggle refused, or why it could not be reached. `status`: HTTP's, None where there was no answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Session:
    """`owner`: the user's name. `patience`: seconds that a call is tried for while Kaggle is busy or out of reach."""

    def __init__(self, patience: float = 300.0, pause: float = 1.0) -> None:
        from requests import RequestException

        said = io.StringIO()
        try:
            # Its import logs in, and prints a page of help where it cannot.
            with contextlib.redirect_stdout(said):
                from kaggle.api.kaggle_api_extended import KaggleApi
                from kagglesdk import KaggleClient
                from kagglesdk.kaggle_env import get_env

                api = KaggleApi()
                api.authenticate()
        except RequestException as error:
            raise KaggleError(f"Kaggle cannot be reached to log in ({_short(error)}); try again") from error
        except SystemExit:
            raise KaggleError(f"no login at Kaggle, or an expired one; {LOGIN}") from None
        self.owner = str(api.config_values[api.CONFIG_NAME_USER])
        self.patience, self.pause = patience, pause
        self.client: Any = KaggleClient(
            env=get_env(),
            username=api.config_values.get(api.CONFIG_NAME_USER),
            password=api.config_values.get(api.CONFIG_NAME_KEY),
            api_token=api.config_values.get(api.CONFIG_NAME_TOKEN),
        )

    def call(self, what: str, method: Callable[[], T], repeatable: bool = True) -> T:
        """The answer of `method`, tried again while Kaggle is busy or out of reach; KaggleError begins with `what`.

        Not `repeatable`: a call that makes something. Tried again only where the answer says that nothing was made.
        """
        from requests import ConnectionError as Unreachable
        from requests import ConnectTimeout, HTTPError, RequestException

        until, pause = time.monotonic() + self.patience, self.pause
        while True:
            try:
                return method()
            except HTTPError as error:
                status = error.response.status_code if error.response is not None else None
                if status not in BUSY or not (repeatable or status in (429, 503)):
                    raise _refused(what, error, status) from error
                wait = _retry_after(error) or pause
                if time.monotonic() + wait > until:
                    raise _refused(what, error, status) from error
            except (Unreachable, RequestException) as error:
                refused = isinstance(error, ConnectTimeout) or "NewConnectionError" in repr(error)
                if not (repeatable or refused) or time.monotonic() + pause > until:
                    mend = "try again" if repeatable or refused else "look whether it was done, then try again"
                    raise KaggleError(f"{what}: Kaggle cannot be reached ({_short(error)}); {mend}") from error
                wait = pause
            time.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)


def _retry_after(error: Any) -> float | None:
    """Seconds that Kaggle asks to wait; None where it does not say. The HTTP date form is not used by it."""
    value = error.response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None


def _refused(what: str, error: Any, status: int | None) -> KaggleError:
    said = " ".join(str(error).split())[:300]
    if status == 401:
        return KaggleError(f"{what}: Kaggle refuses the login; it may have expired: {LOGIN}", status)
    return KaggleError(f"{what}: Kaggle answers {status}: {said}", status)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"
