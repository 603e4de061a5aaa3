"""The room that an account has for private datasets: asked for before the first byte is uploaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from packer.datasets.rules import DatasetError
from packer.kaggle.session import KaggleError, Session

LIMIT = 200 * 10**9  # bytes of all private datasets of an account (Kaggle's documentation of datasets)
PAGE, PAGES = 100, 200


def check(session: Session, ref: str, size: int) -> str | None:
    """DatasetError where `size` bytes more in dataset `ref` exceed the account's limit; a warning where they may.

    What `ref` has now is not counted, as whether Kaggle counts former versions is not known; with it is the warning.
    A Kaggle that does not tell the sizes stops nothing.
    """
    try:
        held = {str(each.ref).lower(): int(each.total_bytes or 0) for each in _private(session)}
    except KaggleError as error:
        return f"whether the account has room for {size / 1e9:.1f} GB is not known: {error}"
    former = held.pop(ref.lower(), 0)
    others = sum(held.values())
    told = f"private datasets of this account have {others / 1e9:.1f} GB"
    limit = f"Kaggle's limit is {LIMIT // 10**9} GB"
    if others + size > LIMIT:
        largest = max(held, key=lambda name: held[name])
        raise DatasetError(
            f"{size / 1e9:.1f} GB would not fit: other {told}, and {limit}",
            key=ref,
            mend=f"delete one at Kaggle, or make it public (the largest is {largest}, {held[largest] / 1e9:.1f} GB)",
        )
    if others + former + size > LIMIT:
        return (
            f"{ref}: {size / 1e9:.1f} GB may not fit if Kaggle counts its former versions: other {told}, it has "
            f"{former / 1e9:.1f} GB, and {limit}"
        )
    return None


def _private(session: Session) -> Iterator[Any]:
    from kagglesdk.datasets.types.dataset_api_service import ApiListDatasetsRequest
    from kagglesdk.datasets.types.dataset_enums import DatasetSelectionGroup

    request = ApiListDatasetsRequest()
    request.group = DatasetSelectionGroup.DATASET_SELECTION_GROUP_MY_PRIVATE
    request.page_size = PAGE
    call = session.client.datasets.dataset_api_client.list_datasets
    seen: set[str] = set()
    while True:
        answer = session.call("list of your private datasets", lambda: call(request))
        yield from filter(None, answer.datasets or [])
        if not answer.next_page_token:
            return
        if answer.next_page_token in seen or len(seen) == PAGES:
            raise KaggleError("Kaggle's list of your private datasets does not end", mend="look at kaggle.com/work")
        seen.add(answer.next_page_token)
        request.page_token = answer.next_page_token
