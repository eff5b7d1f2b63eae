"""Which calls of Stripe's API the stand-in answers, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devstack.payments.books import StripeBooks
from devstack.payments.errors import invalid, missing
from devstack.payments.lists import Params, list_page, refuse_unknown
from devstack.payments.objects import Json

SESSION_STATUSES = ("complete", "expired", "open")
"""Stripe's words for a session's own state; whether it was paid is another field."""


@dataclass(frozen=True)
class Asked:
    """A request that passed the door. ``id`` is the path's, where it has one."""

    path: str
    params: Params
    page_limit: int
    id: str = ""


Work = Callable[[StripeBooks, Asked], Json]


@dataclass(frozen=True)
class Endpoint:
    """``resource`` is what the fault script sees, ``permission`` what a restricted key needs."""

    method: str
    path: str
    resource: str
    permission: str
    work: Work


def _lister(
    objects_of: Callable[[StripeBooks], Mapping[str, Json]], kind: str, *filters: str
) -> Work:
    def work(books: StripeBooks, asked: Asked) -> Json:
        return list_page(
            objects_of(books),
            asked.params,
            url=asked.path,
            kind=kind,
            filters=filters,
            page_limit=asked.page_limit,
        )

    return work


_page_of_sessions = _lister(
    lambda books: books.sessions, "checkout.session", "status", "payment_intent"
)


def _list_sessions(books: StripeBooks, asked: Asked) -> Json:
    status = asked.params.get("status")
    if status is not None and status not in SESSION_STATUSES:
        raise invalid("status", f"Invalid status: must be one of {', '.join(SESSION_STATUSES)}")
    return _page_of_sessions(books, asked)


def _retrieve_session(books: StripeBooks, asked: Asked) -> Json:
    refuse_unknown(asked.params, ())
    if asked.id not in books.sessions:
        raise missing("checkout.session", asked.id, "session")
    return books.sessions[asked.id]


def _create_refund(books: StripeBooks, asked: Asked) -> Json:
    return books.create_refund(asked.params)


ENDPOINTS = (
    Endpoint(
        "GET",
        "/v1/checkout/sessions",
        "checkout/sessions",
        "rak_checkout_session_read",
        _list_sessions,
    ),
    Endpoint(
        "GET",
        "/v1/checkout/sessions/{id}",
        "checkout/sessions",
        "rak_checkout_session_read",
        _retrieve_session,
    ),
    Endpoint(
        "GET",
        "/v1/refunds",
        "refunds",
        "rak_charge_read",
        _lister(lambda books: books.refunds, "refund", "payment_intent", "charge"),
    ),
    Endpoint("POST", "/v1/refunds", "refunds", "rak_charge_write", _create_refund),
    Endpoint(
        "GET",
        "/v1/charges",
        "charges",
        "rak_charge_read",
        _lister(lambda books: books.charges(), "charge", "payment_intent"),
    ),
    Endpoint(
        "GET",
        "/v1/disputes",
        "disputes",
        "rak_dispute_read",
        _lister(lambda books: books.disputes, "dispute", "payment_intent", "charge"),
    ),
)
