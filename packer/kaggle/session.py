"""A login at Kaggle, and calls that survive a bad network.

The login is the kaggle client's own, in its order: an access token (KAGGLE_API_TOKEN, ~/.kaggle/access_token),
KAGGLE_USERNAME and KAGGLE_KEY or kaggle.json, OAuth.
"""

from __future__ import annotations

import contextlib
import io
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from cascade.base.errors import CascadeError
from packer.kaggle import answers, login

T = TypeVar("T")
LOGIN = "make a token at kaggle.com/settings/api and put it into ~/.kaggle/access_token or KAGGLE_API_TOKEN"
BUSY = (408, 429, 500, 502, 503, 504)
ABSENT = (403, 404)  # Kaggle answers either for what is not there: it does not tell which private slugs exist
LONGEST_PAUSE = 60.0  # seconds between two attempts
TIMEOUT = (30.0, 120.0)  # seconds to connect, and of silence
UNSURE = "check whether it was done, then try again"
QUERY = re.compile(r"\?\S*=\S*")  # of an address: whoever has it may write there, or read


class KaggleError(CascadeError):
    """What Kaggle refused, or why it could not be reached. `status`: HTTP's, None where there was no answer."""

    def __init__(self, what: str, status: int | None = None, *, key: str = "", mend: str = "") -> None:
        super().__init__(what, key=key, mend=mend)
        self.status = status


class Session:
    """`owner`: the user's name. `patience`: seconds that a call is tried for while Kaggle is busy or out of reach."""

    def __init__(self, patience: float = 300.0, pause: float = 1.0) -> None:
        from requests import RequestException

        said = io.StringIO()
        try:
            # Its import logs in, and prints a page of help where it cannot.
            with login.readable(), contextlib.redirect_stdout(said):
                from kaggle.api.kaggle_api_extended import KaggleApi
                from kagglesdk import KaggleClient
                from kagglesdk.kaggle_env import get_env

                api = KaggleApi()
                api.authenticate()
        except (RequestException, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _judge("login", error, repeatable=True)[0] from error
        except SystemExit:
            raise KaggleError("not logged in at Kaggle, or the login has expired", mend=LOGIN) from None
        self.owner = str(api.config_values[api.CONFIG_NAME_USER])
        self.patience, self.pause = patience, pause
        self.client: Any = KaggleClient(
            env=get_env(),
            username=api.config_values.get(api.CONFIG_NAME_USER),
            password=api.config_values.get(api.CONFIG_NAME_KEY),
            api_token=api.config_values.get(api.CONFIG_NAME_TOKEN),
        )
        http = self.client.http_client()
        _bound(http)
        http._prepare_response = answers.prepare

    def call(
        self,
        what: str,
        method: Callable[[], T],
        repeatable: bool = True,
        sleep: Callable[[float], object] = time.sleep,
    ) -> T:
        """The answer of `method`, tried again while Kaggle is busy or out of reach; KaggleError begins with `what`.

        Not `repeatable`: a call that makes something. Tried again only where nothing can have been made: a gateway may
        answer 503 after the work was done. `sleep` may end the trying with an exception of its own.
        """
        from requests import RequestException

        until, pause = time.monotonic() + self.patience, self.pause
        while True:
            try:
                return method()
            except (RequestException, ValueError, KeyError) as error:
                failure, again = _judge(what, error, repeatable)
                wait = _retry_after(error) or pause
                if not again or time.monotonic() + wait > until:
                    raise failure from error
            sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)


def _bound(http: Any) -> None:
    """Gives kagglesdk's calls TIMEOUT: it sets none, and what a laptop's sleep left half open stays silent for ever."""
    from requests.adapters import HTTPAdapter

    class Bounded(HTTPAdapter):
        def send(self, request: Any, stream: Any = False, timeout: Any = None, *rest: Any, **more: Any) -> Any:
            return super().send(request, stream, timeout or TIMEOUT, *rest, **more)

    http._init_session()
    for scheme in ("https://", "http://"):
        http._session.mount(scheme, Bounded())


def _judge(what: str, error: Exception, repeatable: bool) -> tuple[KaggleError, bool]:
    """What a failed call comes to if it is given up, and whether it may be made again."""
    from requests import ConnectTimeout, HTTPError

    if isinstance(error, HTTPError):
        status = error.response.status_code if error.response is not None else None
        again = status in BUSY and (repeatable or status == 429)
        mend = UNSURE if status in BUSY and not again else ""
        return _refused(what, error, status, mend), again
    unsent = isinstance(error, ConnectTimeout) or re.search("NewConnectionError|NameResolutionError", repr(error))
    again = repeatable or bool(unsent)
    mend = "try again" if again else UNSURE
    # requests' own error for what is no JSON is both.
    if not isinstance(error, OSError) or isinstance(error, ValueError):
        hint = "update kagglesdk" if isinstance(error, KeyError) else "open kaggle.com in a browser on this network"
        return KaggleError(f"Kaggle's answer is unusable ({_short(error)})", key=what, mend=f"{mend}, or {hint}"), again
    return KaggleError(f"Kaggle cannot be reached ({_short(error)})", key=what, mend=mend), again


def _retry_after(error: Any) -> float | None:
    """Seconds that Kaggle asks to wait; None where it does not say. The HTTP date form is not used by it."""
    answer = getattr(error, "response", None)
    value = answer.headers.get("Retry-After", "") if answer is not None else ""
    return float(value) if value.isdigit() else None


def _refused(what: str, error: Exception, status: int | None, mend: str) -> KaggleError:
    if status == 401:
        return KaggleError("Kaggle rejects the login, which may have expired", status, key=what, mend=LOGIN)
    return KaggleError(f"Kaggle answers {status}: {_words(error)[:300]}", status, key=what, mend=mend)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {_words(error)[:200]}"


def _words(error: Exception) -> str:
    """What it says, in one line and without an address's query."""
    return QUERY.sub("", " ".join(str(error).split()))
