"""Who may read what: row-level security, public buckets, signed addresses, buckets themselves."""

from __future__ import annotations

import time
import uuid

import jwt
import pytest
from storage3.exceptions import StorageApiError
from supabase_world import World

from devstack.project.keys import ANON_KEY, JWT_SECRET

AUDIO = {"content-type": "audio/mpeg"}


def upload(world: World, folder: str) -> str:
    path = f"{folder}/a.mp3"
    world.client().storage.from_("songs").upload(path, b"song", AUDIO)
    return path


def test_a_buyer_reads_their_own_songs(world: World, folder_name: str) -> None:
    path = upload(world, folder_name)
    songs = world.buyer(folder_name).storage.from_("songs")
    assert songs.download(path) == b"song"
    assert [row["name"] for row in songs.list(folder_name)] == ["a.mp3"]
    signed = songs.create_signed_url(path, 60)["signedUrl"]
    assert world.http.get(str(signed)).content == b"song"


@pytest.mark.parametrize("who", ["another buyer", "a visitor"])
def test_nobody_else_sees_them(world: World, folder_name: str, who: str) -> None:
    path = upload(world, folder_name)
    client = world.client(ANON_KEY) if who == "a visitor" else world.buyer(str(uuid.uuid4()))
    songs = client.storage.from_("songs")
    for call in (songs.download, songs.info, lambda p: songs.create_signed_url(p, 60)):
        with pytest.raises(StorageApiError) as error:
            call(path)
        assert str(error.value.status) == "404"
    assert songs.list(folder_name) == []
    assert songs.remove([path]) == []
    assert world.client().storage.from_("songs").exists(path)


def test_a_signed_address_needs_no_key(world: World, folder_name: str) -> None:
    path = upload(world, folder_name)
    songs = world.client().storage.from_("songs")
    signed = songs.create_signed_url(path, 3600, {"download": "our song.mp3"})
    assert signed["signedURL"] == signed["signedUrl"]
    answer = world.http.get(str(signed["signedUrl"]))
    assert (answer.status_code, answer.content) == (200, b"song")
    assert answer.headers["content-type"] == "audio/mpeg"
    assert "our%20song.mp3" in answer.headers["content-disposition"]


def test_a_signed_address_opens_one_object_for_a_while(world: World, folder_name: str) -> None:
    path = upload(world, folder_name)
    address = f"{world.gateway.url}/storage/v1/object/sign/songs/{path}"
    now = int(time.time())

    def error_for(claims: dict[str, object], secret: str = JWT_SECRET) -> str:
        token = jwt.encode(claims, secret, algorithm="HS256")
        answer = world.http.get(address, params={"token": token})
        assert answer.status_code == 400
        return str(answer.json()["error"])

    assert error_for({"url": f"songs/{path}", "exp": now - 1}) == "InvalidJWT"
    assert error_for({"url": f"songs/{path}", "exp": now + 60}, "x" * 32) == "InvalidJWT"
    assert error_for({"url": "songs/other.mp3", "exp": now + 60}) == "InvalidSignature"
    assert world.http.get(address).status_code == 400


def test_signing_many_says_which_are_absent(world: World, folder_name: str) -> None:
    path = upload(world, folder_name)
    there, absent = world.client().storage.from_("songs").create_signed_urls([path, "none.mp3"], 60)
    assert there["error"] is None
    assert world.http.get(str(there["signedURL"])).content == b"song"
    assert absent["signedURL"] is None
    assert absent["error"]


def test_a_public_bucket_needs_no_key_and_a_private_one_hides(
    world: World, folder_name: str
) -> None:
    storage = world.client().storage
    storage.from_("covers").upload(f"{folder_name}/a.png", b"png", {"content-type": "image/png"})
    url = storage.from_("covers").get_public_url(f"{folder_name}/a.png")
    assert world.http.get(url).content == b"png"
    visitor = world.client(ANON_KEY).storage
    assert visitor.from_("covers").download(f"{folder_name}/a.png") == b"png"
    path = upload(world, folder_name)
    answer = world.http.get(storage.from_("songs").get_public_url(path))
    assert answer.json()["error"] == "Bucket not found"


def test_buckets_can_be_made_and_read(world: World) -> None:
    storage = world.client().storage
    name = f"b-{uuid.uuid4()}"
    options = {"public": False, "file_size_limit": 10, "allowed_mime_types": ["audio/mpeg"]}
    assert storage.create_bucket(name, options=options) == {"name": name}  # type: ignore[arg-type]
    bucket = storage.get_bucket(name)
    assert (bucket.public, bucket.file_size_limit) == (False, 10)
    assert bucket.allowed_mime_types == ["audio/mpeg"]
    assert {"songs", "covers", name} <= {each.id for each in storage.list_buckets()}
    with pytest.raises(StorageApiError) as error:
        storage.create_bucket(name)
    assert (str(error.value.status), error.value.code) == ("409", "Duplicate")


def test_a_visitor_sees_no_buckets(world: World) -> None:
    visitor = world.client(ANON_KEY).storage
    assert visitor.list_buckets() == []
    with pytest.raises(StorageApiError) as error:
        visitor.create_bucket("mine")
    assert error.value.code == "Unauthorized"
