"""``python -m devstack demo``, as a person runs it."""

from __future__ import annotations

import pytest
from run_commands import Commands

from devstack.demo import main
from devstack.demo.catalog import FAULTS
from devstack.demo.progress import Line
from devstack.demo.scenarios import Scenario, seen
from devstack.demo.scene import Scene
from devstack.stopping import stop_on_signals
from songswipe.audio import mp3_duration_ms


def test_the_demo_ends_with_three_songs_that_play_and_nothing_else(commands: Commands) -> None:
    """Exit 0, three MP3s named in the output, no process, no folder."""
    songs = commands.folder / "songs"
    status, output = commands.run("demo", "--seconds-per-song", "0.2", "--songs", songs)
    files = sorted(songs.rglob("*.mp3"))

    assert status == 0, output
    assert [file.name for file in files] == ["variant-1.mp3", "variant-2.mp3", "variant-3.mp3"]
    assert all(mp3_duration_ms(file.read_bytes()) > 1000 for file in files)
    assert all(str(file) in output for file in files)
    assert "real PostgreSQL 18" in output
    assert commands.leftovers() == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("rejected", "One song failed, for the reason bad_prompt."),
        ("provider-down", "no song: variant 1 http_503"),
    ],
)
def test_a_fault_is_played_judged_and_told(commands: Commands, fault: str, told: str) -> None:
    arguments = ("--seconds-per-song", "0.1", "--songs", commands.folder / "songs")
    status, output = commands.run("demo", "--fault", fault, *arguments)

    assert status == 0, output
    assert told in output
    assert commands.leftovers() == []


def test_an_end_that_was_not_expected_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def play(scene: Scene) -> list[Line]:
        return [seen("One thing was as expected.", True), seen("Another was not.", False)]

    monkeypatch.setitem(FAULTS, "odd", Scenario("odd", "", "Nothing is done.", play))
    with stop_on_signals():
        status = main(["--fault", "odd"])

    assert status == 1
    assert "✗ Another was not." in capsys.readouterr().out


def test_help_lists_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--fault", "help"])
    output = capsys.readouterr().out

    assert status == 0
    assert [name for name in FAULTS if f"  {name} " not in output] == []


def test_an_unknown_fault_is_answered_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--fault", "nonsense"])
    output = capsys.readouterr().err

    assert status == 2
    assert "nonsense" in output
    assert "provider-down" in output


def test_half_a_real_service_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUPABASE_URL", "https://project.example.test")
    monkeypatch.delenv("SUPABASE_SERVICE_ROLE_KEY", raising=False)
    status = main([])

    assert status == 1
    assert "SUPABASE_SERVICE_ROLE_KEY is not" in capsys.readouterr().err
