"""Fetches an order's songs through the API and keeps them where a person can play them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import requests

from devstack.app_process import PROJECT
from devstack.real_services import Account
from devstack.shop import Row
from songswipe.audio import mp3_duration_ms

SONGS = PROJECT / ".devstack" / "songs"
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class SavedSong:
    """``duration_ms`` is measured from the file, frame by frame; None if it cannot be played."""

    path: Path
    size_bytes: int
    duration_ms: int | None


def save_song(project: Account, variant: Row, folder: Path) -> SavedSong:
    """Downloads a complete variant's audio through the project's API."""
    response = requests.get(
        f"{project.url}/storage/v1/object/songs/{variant['storage_path']}",
        headers={"apikey": project.key, "Authorization": f"Bearer {project.key}"},
        timeout=_TIMEOUT_SECONDS,
    )
    response.raise_for_status()
    path = folder / str(variant["order_id"]) / Path(variant["storage_path"]).name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(response.content)
    try:
        duration_ms = mp3_duration_ms(response.content)
    except ValueError:
        duration_ms = None
    return SavedSong(path, len(response.content), duration_ms)


def describe_song(song: SavedSong) -> str:
    length = "does not play" if song.duration_ms is None else f"{song.duration_ms / 1000:.1f} s"
    return f"{_short(song.path)}   {length}   {song.size_bytes / 1000:.0f} kB"


def _short(path: Path) -> str:
    """Relative to where the reader stands, if that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
