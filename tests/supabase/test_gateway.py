"""The gateway: keys, roles, and what it does when told to fail or when something is away."""

from __future__ import annotations

import time
import uuid

import httpx
import pytest
from postgrest import APIError
from storage3.exceptions import StorageApiError
from supabase_world import World

from devstack.faults import Call, Fault, times
from devstack.project.gateway import Gateway
from devstack.project.keys import ANON_KEY, PUBLISHABLE_KEY, SECRET_KEY, SERVICE_ROLE_KEY
from devstack.serving import free_port

AUDIO = {"content-type": "audio/mpeg"}


def note() -> str:
    return f"note {uuid.uuid4()}"


def count_notes(world: World, body: str) -> int:
    [(count,)] = world.sql("select count(*) from notes where body = %s", body)
    return int(count)


@pytest.mark.parametrize("key", [SECRET_KEY, SERVICE_ROLE_KEY])
def test_either_secret_key_acts_for_the_service(world: World, key: str) -> None:
    body = note()
    [row] = world.client(key).table("notes").insert({"body": body}).execute().data
    assert row["body"] == body
    [row] = world.client(key).rpc("add_note", {"p_body": note()}).execute().data
    assert row["id"]


@pytest.mark.parametrize("key", [PUBLISHABLE_KEY, ANON_KEY])
def test_either_public_key_acts_for_a_visitor(world: World, key: str) -> None:
    with pytest.raises(APIError) as error:
        world.client(key).table("notes").select("*").execute()
    assert error.value.code == "42501"


def test_a_buyers_token_sees_their_rows_alone(world: World) -> None:
    buyer, body = str(uuid.uuid4()), note()
    world.client().table("notes").insert([{"body": body, "owner": buyer}]).execute()
    [row] = world.buyer(buyer).table("notes").select("body").execute().data
    assert row == {"body": body}
    assert world.buyer(str(uuid.uuid4())).table("notes").select("*").execute().data == []


def test_the_local_keys_are_those_of_the_supabase_cli() -> None:
    header_and_claims = (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
        "eyJpc3MiOiJzdXBhYmFzZS1kZW1vIiwicm9sZSI6ImFub24iLCJleHAiOjE5ODM4MTI5OTZ9."
    )
    assert header_and_claims + "CRXP1A7WOeoJeXxjNni43kdQwgnWNReilDMblYTn_I0" == ANON_KEY


@pytest.mark.parametrize("path", ["rest/v1/notes", "storage/v1/bucket"])
def test_a_missing_or_unknown_key_is_refused(world: World, path: str) -> None:
    url = f"{world.gateway.url}/{path}"
    missing = world.http.get(url)
    assert (missing.status_code, "API key" in missing.json()["message"]) == (401, True)
    wrong = world.http.get(url, headers={"apikey": "sb_secret_wrong"})
    assert (wrong.status_code, wrong.json()["message"]) == (401, "Invalid API key")


def test_a_wrong_key_has_no_code_for_the_client(world: World) -> None:
    with pytest.raises(APIError) as error:
        world.client("sb_secret_wrong").table("notes").select("*").execute()
    assert (error.value.code, error.value.message) == (None, "Invalid API key")


def test_a_key_may_stand_in_the_address(world: World) -> None:
    url = f"{world.gateway.url}/rest/v1/notes"
    answer = world.http.get(url, params={"apikey": SECRET_KEY, "select": "id", "limit": "1"})
    assert answer.status_code == 200


def test_queries_headers_and_statuses_pass_unchanged(world: World) -> None:
    bodies = [f'a,b("{uuid.uuid4()}") ü', note()]
    table = world.client().table("notes")
    table.insert([{"body": body} for body in bodies]).execute()
    found = world.client().table("notes").select("body", count="exact").in_("body", bodies)
    answer = found.order("id").limit(1).execute()
    assert (answer.data, answer.count) == ([{"body": bodies[0]}], 2)
    with pytest.raises(APIError) as error:
        world.client().table("notes").insert({"body": bodies[0]}).execute()
    assert error.value.code == "23505"
    with pytest.raises(APIError) as error:
        world.client().table("notes").select("*").eq("body", "none").single().execute()
    assert error.value.code == "PGRST116"


def test_an_address_of_nothing_is_not_found(world: World) -> None:
    assert world.http.get(f"{world.gateway.url}/auth/v1/user").status_code == 404


def test_each_call_is_asked_about_once(world: World, folder_name: str) -> None:
    client = world.client()
    client.rpc("add_note", {"p_body": "\u00e9" + note()}).execute()
    client.table("notes").select("id").limit(1).execute()
    client.storage.from_("songs").upload(f"{folder_name}/a.mp3", b"x", AUDIO)
    client.storage.list_buckets()
    assert [(call.service, call.method, call.detail) for call in world.faults.calls] == [
        ("rest", "POST", "rpc/add_note"),
        ("rest", "GET", "notes"),
        ("storage", "POST", f"{folder_name}/a.mp3"),
        ("storage", "GET", ""),
    ]
    assert "\u00e9".encode() in world.faults.calls[0].body


def test_cut_before_means_not_done(world: World) -> None:
    body = note()
    world.faults.add(times(1, Fault(cut="before")))
    with pytest.raises(httpx.TransportError):
        world.client().table("notes").insert({"body": body}).execute()
    assert count_notes(world, body) == 0
    world.client().table("notes").insert({"body": body}).execute()


def test_cut_after_means_done_and_not_answered(world: World) -> None:
    body = note()
    world.faults.add(times(1, Fault(cut="after")))
    with pytest.raises(httpx.TransportError):
        world.client().table("notes").insert({"body": body}).execute()
    assert count_notes(world, body) == 1


def test_cut_in_the_middle_breaks_the_answer_off(world: World) -> None:
    body = note()
    world.faults.add(times(1, Fault(cut="middle")))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        world.client().table("notes").insert({"body": body}).execute()
    assert count_notes(world, body) == 1


def test_a_status_answers_in_place_of_the_work(world: World) -> None:
    body = note()
    fault = Fault(status=503, headers={"Retry-After": "7"}, body=b'{"message": "busy"}')
    world.faults.add(times(1, fault))
    with pytest.raises(APIError, match="busy"):
        world.client().table("notes").insert({"body": body}).execute()
    assert count_notes(world, body) == 0


def test_a_delayed_call_is_done_even_if_nobody_waits(world: World) -> None:
    body = note()
    world.faults.add(times(1, Fault(delay_seconds=0.3)))
    with httpx.Client(timeout=0.05) as impatient, pytest.raises(httpx.ReadTimeout):
        impatient.post(
            f"{world.gateway.url}/rest/v1/notes",
            headers={"apikey": SECRET_KEY},
            json={"body": body},
        )
    deadline = time.monotonic() + 5
    while count_notes(world, body) == 0 and time.monotonic() < deadline:
        pass
    assert count_notes(world, body) == 1


def test_an_answer_can_be_replaced_or_truncated(world: World) -> None:
    world.faults.add(times(1, Fault(replace_body=True, body=b"<html>")))
    world.faults.add(times(1, Fault(truncate=True)))
    url = f"{world.gateway.url}/rest/v1/rpc/add_note"
    for want in ("<html>", '[{"id":'):
        body = note()
        answer = world.http.post(url, headers={"apikey": SECRET_KEY}, json={"p_body": body})
        assert answer.status_code == 200
        assert answer.text.startswith(want)
        assert not answer.text.endswith("]")
        assert count_notes(world, body) == 1


def test_storage_commits_the_same_faults(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")
    duplicate = b'{"statusCode":"409","error":"Duplicate","message":"there"}'
    for fault in (Fault(cut="before"), Fault(cut="after"), Fault(status=400, body=duplicate)):
        world.faults.add(times(1, fault, lambda call: call.method == "POST"))
    with pytest.raises(httpx.TransportError):
        songs.upload(f"{folder_name}/a.mp3", b"before", AUDIO)
    assert not songs.exists(f"{folder_name}/a.mp3")
    with pytest.raises(httpx.TransportError):
        songs.upload(f"{folder_name}/a.mp3", b"after", AUDIO)
    assert songs.download(f"{folder_name}/a.mp3") == b"after"
    with pytest.raises(StorageApiError) as error:
        songs.upload(f"{folder_name}/b.mp3", b"x", AUDIO)
    assert (error.value.status, error.value.code) == ("409", "Duplicate")
    assert not songs.exists(f"{folder_name}/b.mp3")


def test_a_download_can_be_cut_and_truncated(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")
    path = f"{folder_name}/a.mp3"
    songs.upload(path, b"x" * 1000, AUDIO)

    def downloads(call: Call) -> bool:
        return call.method == "GET" and call.detail == path

    world.faults.add(times(1, Fault(cut="middle"), downloads))
    world.faults.add(times(1, Fault(truncate=True), downloads))
    with pytest.raises(httpx.RemoteProtocolError):
        songs.download(path)
    assert songs.download(path) == b"x" * 500
    assert songs.download(path) == b"x" * 1000


def test_an_unreachable_postgrest_is_a_503(world: World) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    gateway = Gateway(postgrest_url=url, storage=world.storage)
    world.run(gateway.start())
    try:
        answer = world.http.get(f"{gateway.url}/rest/v1/notes", headers={"apikey": SECRET_KEY})
        assert (answer.status_code, answer.json()) == (503, {"message": "PostgREST is unreachable"})
    finally:
        world.run(gateway.stop())


def test_the_database_may_go_away_and_come_back(world: World, folder_name: str) -> None:
    client = world.client()
    songs = client.storage.from_("songs")
    songs.upload(f"{folder_name}/a.mp3", b"x", AUDIO)
    world.postgres.pause()
    try:
        with pytest.raises(APIError) as error:
            client.table("notes").insert({"body": note()}).execute()
        assert error.value.code in ("PGRST000", "PGRST001", "PGRST002", "57P01")
        with pytest.raises(StorageApiError) as storage_error:
            songs.upload(f"{folder_name}/b.mp3", b"x", AUDIO)
        assert str(storage_error.value.status) == "544"
    finally:
        world.postgres.resume()
    assert songs.download(f"{folder_name}/a.mp3") == b"x"
    deadline = time.monotonic() + 10
    while True:
        try:
            client.table("notes").insert({"body": note()}).execute()
            break
        except APIError:
            assert time.monotonic() < deadline
