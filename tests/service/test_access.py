"""Who may see and change what, over HTTP with the keys that visitors and buyers have."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import requests
from world import Paid, World

from devstack.project.keys import ANON_KEY, PUBLISHABLE_KEY, SECRET_KEY, user_token

SERVICE_TABLES = [
    "failed_jobs",
    "purchases",
    "stripe_events",
    "undelivered_audio",
    "variant_claims",
    "admin_orders",
    "admin_dead_letters",
    "admin_order_costs",
]


class Visitor:
    """Somebody with the public key, signed in or not."""

    def __init__(self, world: World, token: str | None = None) -> None:
        self._url = f"{world.stack.gateway.url}/rest/v1"
        self._headers = {
            "apikey": PUBLISHABLE_KEY,
            "Authorization": f"Bearer {token or PUBLISHABLE_KEY}",
            "Prefer": "return=representation",
        }

    def __call__(self, method: str, path: str, body: object = None) -> requests.Response:
        return requests.request(
            method, f"{self._url}/{path}", json=body, headers=self._headers, timeout=10
        )

    def read(self, path: str) -> list[dict[str, Any]]:
        response = self("GET", path)
        assert response.status_code == 200, response.text
        return list(response.json())


@pytest.fixture
def anonymous(world: World) -> Visitor:
    return Visitor(world)


@pytest.fixture
def paid(world: World) -> Paid:
    return world.buy()


@pytest.fixture
def buyer(world: World, paid: Paid) -> Visitor:
    return Visitor(world, user_token(paid.customer.user_id))


def relations(world: World) -> list[str]:
    """Every table and view of the API."""
    rows = world.shop.rows(
        "select relname, relkind::text from pg_class"
        " where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'm', 'p')"
    )
    return [row["relname"] for row in rows]


def functions(world: World) -> list[dict[str, Any]]:
    return world.shop.rows(
        "select p.oid, p.proname, p.prosecdef, p.proconfig, p.proargnames"
        " from pg_proc p where pronamespace = 'public'::regnamespace order by 2"
    )


# Anonymous visitors


def test_an_anonymous_visitor_reads_no_table_at_all(
    world: World, paid: Paid, anonymous: Visitor
) -> None:
    answers = {name: anonymous("GET", name).status_code for name in relations(world)}

    assert set(answers) >= {"orders", "song_variants", "users", "customizations", *SERVICE_TABLES}
    assert set(answers.values()) == {401}


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_an_anonymous_visitor_writes_no_table_at_all(
    world: World, paid: Paid, anonymous: Visitor, method: str
) -> None:
    body = None if method == "DELETE" else {}
    for name in relations(world):
        assert anonymous(method, name, body).status_code >= 400, name


def test_the_legacy_anon_key_opens_no_more(world: World, paid: Paid) -> None:
    response = requests.get(
        f"{world.stack.gateway.url}/rest/v1/song_variants",
        headers={"apikey": ANON_KEY, "Authorization": f"Bearer {ANON_KEY}"},
        timeout=10,
    )

    assert response.status_code == 401


# Buyers


def test_a_buyer_reads_their_own_orders_and_nobody_else_s(
    world: World, paid: Paid, buyer: Visitor
) -> None:
    world.buy()

    assert [row["id"] for row in buyer.read("orders")] == [paid.order_id]
    assert len(world.shop.orders()) == 2


def test_a_buyer_reads_their_own_variants_and_nobody_else_s(
    world: World, paid: Paid, buyer: Visitor
) -> None:
    world.buy()

    assert [row["order_id"] for row in buyer.read("song_variants")] == [paid.order_id] * 3


def test_a_buyer_reads_no_table_of_the_service(world: World, buyer: Visitor) -> None:
    others = set(relations(world)) - {"orders", "song_variants", "users", "customizations"}

    assert others == set(SERVICE_TABLES)
    assert {buyer("GET", name).status_code for name in others} == {403}


def test_a_buyer_chooses_among_their_variants(world: World, paid: Paid, buyer: Visitor) -> None:
    response = buyer("PATCH", "song_variants?variant_number=eq.2", {"selected": True})

    assert response.status_code == 200
    assert [row["selected"] for row in world.shop.variants(paid.order_id)] == [False, True, False]


def test_a_buyer_cannot_choose_for_somebody_else(world: World, paid: Paid, buyer: Visitor) -> None:
    """The filter names everybody's; only their own are changed."""
    other = world.buy()
    buyer("PATCH", "song_variants?variant_number=gt.0", {"selected": True})

    assert not any(row["selected"] for row in world.shop.variants(other.order_id))


COLUMNS = {
    "generation_status": "failed",
    "storage_path": "x",
    "duration_ms": 1,
    "share_token": str(uuid.uuid4()),
    "completed_at": "2026-01-01",
    "failure_reason": "x",
    "user_id": str(uuid.uuid4()),
    "order_id": str(uuid.uuid4()),
    "variant_number": 5,
    "id": str(uuid.uuid4()),
    "created_at": "2026-01-01",
}


def test_a_buyer_may_set_nothing_but_selected(world: World, paid: Paid, buyer: Visitor) -> None:
    before = world.shop.variants(paid.order_id)
    answers = {
        name: buyer("PATCH", "song_variants?variant_number=eq.1", {name: value}).status_code
        for name, value in COLUMNS.items()
    }

    assert {*answers, "selected"} == set(before[0])
    assert set(answers.values()) == {403}
    assert world.shop.variants(paid.order_id) == before


@pytest.mark.parametrize("change", [{"status": "completed"}, {"amount": 0}, {"user_id": None}])
def test_a_buyer_changes_nothing_of_an_order(
    world: World, paid: Paid, buyer: Visitor, change: dict[str, object]
) -> None:
    before = world.order(paid)

    assert buyer("PATCH", f"orders?id=eq.{paid.order_id}", change).status_code == 403
    assert world.order(paid) == before


@pytest.mark.parametrize("table", ["orders", "song_variants"])
def test_a_buyer_neither_adds_nor_removes_rows(
    world: World, paid: Paid, buyer: Visitor, table: str
) -> None:
    assert buyer("POST", table, {"user_id": paid.customer.user_id}).status_code == 403
    assert buyer("DELETE", f"{table}?user_id=eq.{paid.customer.user_id}").status_code == 403
    assert len(world.shop.variants(paid.order_id)) == 3


# Functions


def test_nobody_but_the_service_role_may_call_the_service_s_functions(world: World) -> None:
    """Every function there is, so that a new one cannot be forgotten."""
    allowed = {
        row["proname"]: [
            role
            for role in ("anon", "authenticated", "service_role")
            if world.shop.rows(
                "select has_function_privilege(%s, %s::oid, 'execute') as may", role, row["oid"]
            )[0]["may"]
        ]
        for row in functions(world)
    }
    everybody = allowed.pop("shared_song")

    assert everybody == ["anon", "authenticated", "service_role"]
    assert len(allowed) > 15
    assert {tuple(roles) for roles in allowed.values()} == {("service_role",)}


def test_their_names_are_refused_over_http_as_well(
    world: World, buyer: Visitor, anonymous: Visitor
) -> None:
    for row in functions(world):
        if row["proname"] in ("shared_song", "touch_updated_at"):
            continue
        arguments = {name: None for name in row["proargnames"] or [] if name.startswith("p_")}
        for visitor, status in ((anonymous, 401), (buyer, 403)):
            response = visitor("POST", f"rpc/{row['proname']}", arguments)
            assert response.status_code == status, (row["proname"], response.text)


def test_every_function_has_its_search_path_fixed(world: World) -> None:
    """Else whoever makes a table of the same name could lend it to them."""
    assert {tuple(row["proconfig"] or ()) for row in functions(world)} == {('search_path=""',)}


def test_only_the_shared_song_runs_with_its_owner_s_rights(world: World) -> None:
    assert [row["proname"] for row in functions(world) if row["prosecdef"]] == ["shared_song"]


def test_every_table_has_row_level_security(world: World) -> None:
    rows = world.shop.rows(
        "select relname from pg_class where relnamespace = 'public'::regnamespace"
        " and relkind in ('r', 'p') and not relrowsecurity"
    )

    assert rows == []


# Shared songs


def test_a_shared_song_is_found_by_its_token(world: World, paid: Paid, anonymous: Visitor) -> None:
    """By anybody who has it; they learn how long it plays and nothing about who bought it."""
    variant = world.shop.variants(paid.order_id)[1]
    [song] = anonymous(
        "POST", "rpc/shared_song", {"p_share_token": str(variant["share_token"])}
    ).json()

    assert song.keys() == {"id", "variant_number", "duration_ms", "completed_at"}
    assert (song["id"], song["variant_number"]) == (str(variant["id"]), 2)
    assert song["duration_ms"] == variant["duration_ms"]


@pytest.mark.parametrize("token", ["089c7b84-a33d-412f-ba30-6df148cf2265", None])
def test_without_its_token_there_is_no_shared_song(
    paid: Paid, anonymous: Visitor, token: str | None
) -> None:
    assert anonymous("POST", "rpc/shared_song", {"p_share_token": token}).json() == []


@pytest.mark.parametrize("path", ["rpc/shared_song", "rpc/shared_song?p_share_token=not.is.null"])
def test_shared_songs_cannot_be_listed(paid: Paid, anonymous: Visitor, path: str) -> None:
    assert anonymous("GET", path).status_code >= 400
    assert anonymous("POST", path, {}).status_code >= 400


def test_a_song_that_is_not_complete_cannot_be_shared(
    world: World, paid: Paid, anonymous: Visitor
) -> None:
    [row] = world.shop.rows(
        "update public.song_variants set generation_status = 'failed'"
        " where variant_number = 1 returning share_token"
    )
    token = str(row["share_token"])

    assert anonymous("POST", "rpc/shared_song", {"p_share_token": token}).json() == []


# Audio


def storage(world: World, method: str, path: str, token: str | None, **body: Any) -> int:
    return requests.request(
        method,
        f"{world.stack.gateway.url}/storage/v1/{path}",
        headers={
            "apikey": PUBLISHABLE_KEY,
            "Authorization": f"Bearer {token or PUBLISHABLE_KEY}",
        },
        timeout=10,
        **body,
    ).status_code


def test_a_buyer_plays_their_own_song_and_nobody_else_does(world: World, paid: Paid) -> None:
    stranger = world.shop.add_customer()
    path = f"object/songs/{world.shop.variants(paid.order_id)[0]['storage_path']}"

    assert storage(world, "GET", path, user_token(paid.customer.user_id)) == 200
    assert storage(world, "GET", path, user_token(stranger.user_id)) == 400
    assert storage(world, "GET", path, None) == 400


def test_a_buyer_can_have_an_address_of_their_song_signed(world: World, paid: Paid) -> None:
    path = f"object/sign/songs/{world.shop.variants(paid.order_id)[0]['storage_path']}"
    stranger = world.shop.add_customer()
    body = {"json": {"expiresIn": 60}}

    assert storage(world, "POST", path, user_token(paid.customer.user_id), **body) == 200
    assert storage(world, "POST", path, user_token(stranger.user_id), **body) == 400
    assert storage(world, "POST", path, None, **body) == 400


def test_only_the_service_puts_songs_into_the_bucket(world: World, paid: Paid) -> None:
    """Not even the buyer, into their own folder."""
    path = f"object/songs/{paid.customer.user_id}/{paid.order_id}/variant-4.mp3"
    file = {"files": {"file": ("x.mp3", b"x", "audio/mpeg")}}

    assert storage(world, "POST", path, user_token(paid.customer.user_id), **file) == 400
    assert storage(world, "POST", path, None, **file) == 400
    assert storage(world, "POST", path, SECRET_KEY, **file) >= 400  # under the public key
