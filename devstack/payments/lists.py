"""Stripe's lists: newest first, filtered, in pages that begin after a cursor."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import parse_qsl

from devstack.payments.errors import invalid, missing
from devstack.payments.objects import Json

Params = Mapping[str, str]

DEFAULT_LIMIT = 10
MAX_LIMIT = 100
COMPARISONS: Mapping[str, Callable[[int, int], bool]] = {
    "created": operator.eq,
    "created[gt]": operator.gt,
    "created[gte]": operator.ge,
    "created[lt]": operator.lt,
    "created[lte]": operator.le,
}
PAGING = ("limit", "starting_after")


def read_params(text: str) -> Params:
    """A query string or a form as a mapping. A name that comes twice is refused."""
    params: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name in params:
            raise invalid(name, f"Received {name} twice, which the stand-in does not support.")
        params[name] = value
    return params


def refuse_unknown(params: Params, known: Iterable[str]) -> None:
    """What Stripe knows and this stand-in does not is refused as unknown too."""
    allowed = set(known)
    for name in params:
        if name not in allowed:
            message = f"Received unknown parameter: {name}. The stand-in knows {sorted(allowed)}."
            raise invalid(name, message, "parameter_unknown")


def read_integer(params: Params, name: str) -> int:
    try:
        return int(params[name])
    except ValueError:
        message = f"Invalid integer: {params[name]}"
        raise invalid(name, message, "parameter_invalid_integer") from None


def list_page(
    objects: Mapping[str, Json],
    params: Params,
    *,
    url: str,
    kind: str,
    filters: tuple[str, ...],
    page_limit: int,
) -> Json:
    """One page. ``filters`` are the fields that may be asked for by value.

    ``page_limit`` cuts pages shorter than asked for, so that paging shows with few objects.
    """
    refuse_unknown(params, (*PAGING, *COMPARISONS, *filters))
    newest_first = sorted(objects.values(), key=lambda each: each["created"])[::-1]
    rest = _after_cursor(newest_first, params, objects, kind)
    matching = [each for each in rest if _matches(each, params, filters)]
    size = min(_limit(params), page_limit)
    return {
        "object": "list",
        "data": matching[:size],
        "has_more": len(matching) > size,
        "url": url,
    }


def _limit(params: Params) -> int:
    if "limit" not in params:
        return DEFAULT_LIMIT
    limit = read_integer(params, "limit")
    if not 1 <= limit <= MAX_LIMIT:
        message = f"This value must be from 1 to {MAX_LIMIT} (it currently is '{limit}')."
        raise invalid("limit", message, "parameter_invalid_integer")
    return limit


def _after_cursor(
    newest_first: list[Json], params: Params, objects: Mapping[str, Json], kind: str
) -> list[Json]:
    cursor = params.get("starting_after")
    if cursor is None:
        return newest_first
    if cursor not in objects:
        raise missing(kind, cursor, "starting_after", status=400)
    return newest_first[newest_first.index(objects[cursor]) + 1 :]


def _matches(each: Json, params: Params, filters: tuple[str, ...]) -> bool:
    in_time = all(
        compare(each["created"], read_integer(params, name))
        for name, compare in COMPARISONS.items()
        if name in params
    )
    return in_time and all(each[name] == params[name] for name in filters if name in params)
