"""Objects through supabase-py: what Storage answers when all is well."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from storage3.exceptions import StorageApiError
from supabase_world import World

MP3 = b"ID3" + bytes(range(256)) * 20
AUDIO = {"content-type": "audio/mpeg"}


def test_an_upload_can_be_downloaded(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")
    answer = songs.upload(f"{folder_name}/a.mp3", MP3, {**AUDIO, "upsert": "true"})
    assert answer.path == f"{folder_name}/a.mp3"
    assert answer.full_path == f"songs/{folder_name}/a.mp3"
    assert songs.download(f"{folder_name}/a.mp3") == MP3


def test_bytes_that_look_like_a_form_survive(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")
    awkward = b"\r\n--boundary\r\n\r\n--\r\n" + MP3 + b"\r\n"
    songs.upload(f"{folder_name}/a.mp3", awkward, AUDIO)
    assert songs.download(f"{folder_name}/a.mp3") == awkward


def test_an_upload_from_a_file_is_stored(world: World, folder_name: str, tmp_path: Path) -> None:
    songs = world.client().storage.from_("songs")
    path = tmp_path / "song.mp3"
    path.write_bytes(MP3)
    songs.upload(f"{folder_name}/a.mp3", path, AUDIO)
    assert songs.download(f"{folder_name}/a.mp3") == MP3


def test_the_row_says_what_the_file_is(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")
    songs.upload(f"{folder_name}/a.mp3", MP3, {**AUDIO, "metadata": {"order": "o1"}})
    [(size, mimetype, user_metadata)] = world.sql(
        "select (metadata->>'size')::int, metadata->>'mimetype', user_metadata"
        " from storage.objects where bucket_id = 'songs' and name = %s",
        f"{folder_name}/a.mp3",
    )
    assert (size, mimetype, user_metadata) == (len(MP3), "audio/mpeg", {"order": "o1"})


def test_an_upsert_replaces_the_object_and_its_file(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")
    for content in (MP3, MP3 + b"new"):
        songs.upload(f"{folder_name}/a.mp3", content, {**AUDIO, "upsert": "true"})
    assert songs.download(f"{folder_name}/a.mp3") == MP3 + b"new"
    files = (world.folder / "objects" / "songs" / folder_name).rglob("*.mp3")
    assert sum(path.is_file() for path in files) == 1


def test_an_update_replaces_or_creates(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")
    songs.update(f"{folder_name}/a.mp3", b"first", AUDIO)
    songs.update(f"{folder_name}/a.mp3", b"second", AUDIO)
    assert songs.download(f"{folder_name}/a.mp3") == b"second"


def test_of_many_uploads_of_one_key_exactly_one_is_stored(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")

    def upload(number: int) -> int:
        try:
            songs.upload(f"{folder_name}/a.mp3", b"%d" % number, AUDIO)
        except StorageApiError as error:
            return int(error.status)
        return 200

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(upload, range(8))) == [200] + [409] * 7
    files = (world.folder / "objects" / "songs" / folder_name).rglob("*.mp3")
    assert sum(path.is_file() for path in files) == 1


def test_a_key_may_also_be_a_folder(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")
    songs.upload(folder_name, b"song", AUDIO)
    songs.upload(f"{folder_name}/below", b"other", AUDIO)
    assert songs.download(folder_name) == b"song"
    assert songs.download(f"{folder_name}/below") == b"other"


def test_removing_names_what_was_there(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")
    songs.upload(f"{folder_name}/a.mp3", MP3, AUDIO)
    removed = songs.remove([f"{folder_name}/a.mp3", f"{folder_name}/none.mp3"])
    assert [row["name"] for row in removed] == [f"{folder_name}/a.mp3"]
    assert not songs.exists(f"{folder_name}/a.mp3")
    assert not (world.folder / "objects" / "songs" / folder_name).exists()


def test_listing_shows_folders_and_files_of_one_level(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")
    for key in ("b.mp3", "a.mp3", "deep/er/c.mp3"):
        songs.upload(f"{folder_name}/{key}", MP3, AUDIO)
    found = songs.list(folder_name)
    assert [(row["name"], row["id"] is None) for row in found] == [
        ("deep", True),
        ("a.mp3", False),
        ("b.mp3", False),
    ]
    assert found[1]["metadata"]["size"] == len(MP3)


def test_listing_pages_sorts_and_searches(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")
    for key in ("a1.mp3", "a2.mp3", "b1.mp3"):
        songs.upload(f"{folder_name}/{key}", MP3, AUDIO)
    downwards = songs.list(
        folder_name, {"limit": 2, "offset": 1, "sortBy": {"column": "name", "order": "desc"}}
    )
    assert [row["name"] for row in downwards] == ["a2.mp3", "a1.mp3"]
    assert [row["name"] for row in songs.list(folder_name, {"search": "b"})] == ["b1.mp3"]


def test_info_describes_and_exists_answers(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")
    songs.upload(f"{folder_name}/a.mp3", MP3, {**AUDIO, "cache-control": "60"})
    info = songs.info(f"{folder_name}/a.mp3")
    assert (info["size"], info["content_type"]) == (len(MP3), "audio/mpeg")
    assert (info["cache_control"], info["bucket_id"]) == ("max-age=60", "songs")
    assert songs.exists(f"{folder_name}/a.mp3")
    assert not songs.exists(f"{folder_name}/b.mp3")


@pytest.mark.parametrize("route", ["object", "object/authenticated", "object/info"])
def test_head_answers_without_a_body(world: World, folder_name: str, route: str) -> None:
    world.client().storage.from_("songs").upload(f"{folder_name}/a.mp3", MP3, AUDIO)
    url = f"{world.gateway.url}/storage/v1/{route}/songs/{folder_name}/a.mp3"
    headers = dict(world.client().options.headers)
    answer = world.http.head(url, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_range_can_be_asked_for(world: World, folder_name: str) -> None:
    songs = world.client().storage.from_("songs")
    songs.upload(f"{folder_name}/a.mp3", MP3, AUDIO)
    url = songs.create_signed_url(f"{folder_name}/a.mp3", 60)["signedUrl"]
    answer = world.http.get(str(url), headers={"Range": "bytes=0-2"})
    assert (answer.status_code, answer.content) == (206, b"ID3")
