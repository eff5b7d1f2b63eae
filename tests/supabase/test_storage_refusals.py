"""What Storage refuses, and in which words: the errors that supabase-py raises for them."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from storage3.exceptions import StorageApiError
from supabase_world import World

from devstack.project import storage_objects
from devstack.project.gateway import Gateway
from devstack.project.keys import ANON_KEY, SECRET_KEY

AUDIO = {"content-type": "audio/mpeg"}


def refusal(error: pytest.ExceptionInfo[StorageApiError]) -> tuple[str, str]:
    return str(error.value.status), error.value.code


def test_a_key_in_use_is_a_duplicate(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")
    songs.upload(f"{folder_name}/a.mp3", b"x", AUDIO)
    with pytest.raises(StorageApiError) as error:
        songs.upload(f"{folder_name}/a.mp3", b"y", AUDIO)
    assert refusal(error) == ("409", "Duplicate")
    assert songs.download(f"{folder_name}/a.mp3") == b"x"


@pytest.mark.parametrize("call", ["download", "info", "create_signed_url"])
def test_an_absent_object_is_not_found(world: World, folder_name: str, call: str) -> None:
    songs = world.client().storage.from_("songs")
    more = [60] if call == "create_signed_url" else []
    with pytest.raises(StorageApiError) as error:
        getattr(songs, call)(f"{folder_name}/none.mp3", *more)
    assert refusal(error) == ("404", "not_found")


def test_an_absent_bucket_is_not_found(world: World) -> None:
    none = world.client().storage.from_("none")
    with pytest.raises(StorageApiError) as error:
        none.upload("a.mp3", b"x", AUDIO)
    assert refusal(error) == ("404", "Bucket not found")
    with pytest.raises(StorageApiError) as error:
        none.download("a.mp3")
    assert refusal(error) == ("404", "Bucket not found")


@pytest.mark.parametrize(
    "key", ["grüße.mp3", "a#b.mp3", "a%b.mp3", "a\\b.mp3", "a~b.mp3", "../../x", "x" * 256]
)
def test_keys_outside_the_character_set_are_invalid(world: World, key: str) -> None:
    url = f"{world.gateway.url}/storage/v1/object/songs/{quote(key).replace('..', '%2E%2E')}"
    answer = world.http.post(url, headers={"apikey": SECRET_KEY}, files={"file": ("f", b"x")})
    assert answer.status_code == 400
    assert answer.json()["statusCode"] == "400"
    assert answer.json()["error"] == "InvalidKey"
    assert key in answer.json()["message"]


def test_the_buckets_size_limit_is_kept(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")
    songs.upload(f"{folder_name}/a.mp3", bytes(100_000), AUDIO)
    with pytest.raises(StorageApiError) as error:
        songs.upload(f"{folder_name}/b.mp3", bytes(100_001), AUDIO)
    assert refusal(error) == ("413", "Payload too large")


@pytest.mark.parametrize(
    ("where", "limit"), [(storage_objects, "_SIZE_LIMIT_BYTES"), (Gateway, "max_body_bytes")]
)
def test_the_projects_size_limit_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch, where: object, limit: str
) -> None:
    assert getattr(where, limit) >= 50 * 1024 * 1024
    monkeypatch.setattr(where, limit, 1000)
    gateway = Gateway(postgrest_url=world.postgrest.url, storage=world.storage)
    world.run(gateway.start())
    try:
        answer = world.http.post(
            f"{gateway.url}/storage/v1/object/covers/a.png",
            headers={"apikey": SECRET_KEY},
            files={"file": ("a.png", bytes(1001), "image/png")},
        )
        assert answer.status_code == 400
        assert answer.json()["statusCode"] == "413"
        assert answer.json()["error"] == "Payload too large"
    finally:
        world.run(gateway.stop())


def test_the_buckets_types_are_kept(world: World, folder_name: str) -> None:
    storage = world.client().storage
    with pytest.raises(StorageApiError) as error:
        storage.from_("songs").upload(f"{folder_name}/a.txt", b"x")
    assert refusal(error) == ("415", "invalid_mime_type")
    storage.from_("covers").upload(f"{folder_name}/a.webp", b"x", {"content-type": "image/webp"})


def test_a_refusal_goes_out_as_400_with_the_true_status_inside(world: World) -> None:
    answer = world.http.get(
        f"{world.gateway.url}/storage/v1/object/songs/none.mp3", headers={"apikey": SECRET_KEY}
    )
    assert answer.status_code == 400
    assert answer.json() == {
        "statusCode": "404",
        "error": "not_found",
        "message": "Object not found",
        "code": "NoSuchKey",
    }


def test_a_visitor_may_not_upload(world: World, folder_name: str) -> None:
    with pytest.raises(StorageApiError) as error:
        world.client(ANON_KEY).storage.from_("songs").upload(f"{folder_name}/a.mp3", b"x", AUDIO)
    assert refusal(error) == ("403", "Unauthorized")
    assert "row-level security" in error.value.message


def test_a_forged_token_is_refused(world: World) -> None:
    forged = world.client(ANON_KEY, {"Authorization": "Bearer a.b.c"})
    with pytest.raises(StorageApiError) as error:
        forged.storage.from_("songs").download("a.mp3")
    assert refusal(error) == ("403", "Unauthorized")


@pytest.mark.parametrize("call", ["move", "copy"])
def test_what_is_not_offered_says_so(world: World, call: str) -> None:
    with pytest.raises(StorageApiError) as error:
        getattr(world.client().storage.from_("songs"), call)("a.mp3", "b.mp3")
    assert refusal(error) == ("501", "NotSupported")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "object/sign/songs/a.mp3", b"not json"),
        ("POST", "object/sign/songs/a.mp3", b"[]"),
        ("POST", "object/sign/songs/a.mp3", b"{}"),
        ("POST", "object/sign/songs/a.mp3", b'{"expiresIn": "0"}'),
        ("POST", "object/sign/songs", b'{"expiresIn": 60, "paths": "a.mp3"}'),
        ("POST", "object/list/songs", b'{"sortBy": {"column": "id; drop table x"}}'),
        ("DELETE", "object/songs", b'{"prefixes": [1]}'),
        ("POST", "object/songs/a.mp3", b"not a form"),
        ("POST", "bucket", b'{"name": "a/b"}'),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    world: World, method: str, path: str, body: bytes
) -> None:
    answer = world.http.request(
        method,
        f"{world.gateway.url}/storage/v1/{path}",
        headers={"apikey": SECRET_KEY},
        content=body,
    )
    assert (answer.status_code, answer.json()["statusCode"]) == (400, "400")


def test_a_lost_file_is_reported_as_not_found(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")
    songs.upload(f"{folder_name}/a.mp3", b"x", AUDIO)
    for path in (world.folder / "objects" / "songs" / folder_name / "a.mp3").iterdir():
        path.unlink()
    with pytest.raises(StorageApiError) as error:
        songs.download(f"{folder_name}/a.mp3")
    assert refusal(error) == ("404", "Not found")
