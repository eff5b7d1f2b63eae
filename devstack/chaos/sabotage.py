"""Protections switched off on purpose, to see that the kit notices.

Each is a change to the database under test; the service itself stays as it is.
"""

from __future__ import annotations

from devstack.shop import Shop

# name: the database function, what stands there, and what it is replaced by
_IN_FUNCTIONS: dict[str, list[tuple[str, str, str]]] = {
    "claims": [("claim_variant", "and held.leased_until > clock_timestamp()", "and false")],
    "doubts": [
        ("claim_variant", "if doubts >= 2 then", "if false then"),
        ("close_purchase", "or doubts >= 2", "or false"),
    ],
    "adoption": [("claim_variant", "if not p_ignore_audio and", "if false and")],
    "refund-check": [("claim_variant", "if state is distinct from 'generating'", "if false")],
    "dead-letters": [
        ("record_failure", "insert into public.failed_jobs",
         "return state; insert into public.failed_jobs"),
    ],
    "unique-session": [
        ("record_checkout", "hashtextextended(p_session_id, 0)", "(random() * 1e15)::bigint"),
        ("record_checkout", "hashtextextended(p_payment_intent, 1)", "(random() * 1e15)::bigint"),
        # What the locks guard takes a moment, so that deliveries do meet there.
        ("record_checkout", "problem := public.checkout_problem(",
         "perform pg_sleep(0.3); problem := public.checkout_problem("),
    ],
}  # fmt: skip
_STATEMENTS = {"unique-session": "drop index public.orders_one_per_session"}

SABOTAGES = tuple(_IN_FUNCTIONS)


def sabotage(shop: Shop, name: str) -> None:
    """Raises LookupError if the protection is not where it is looked for."""
    for function, old, new in _IN_FUNCTIONS[name]:
        query = "select pg_get_functiondef(%s::regproc) as source"
        source = shop.rows(query, f"public.{function}")[0]["source"]
        if old not in source:
            raise LookupError(f"{function} has no {old!r} any more: mend the sabotage {name}")
        shop.rows(source.replace(old, new).replace("%", "%%"))
    if name in _STATEMENTS:
        shop.rows(_STATEMENTS[name])
