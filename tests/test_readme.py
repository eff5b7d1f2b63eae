"""What the README says of commands, configuration and layout is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from devstack.__main__ import COMMANDS
from devstack.configuration_docs import (
    SERVING,
    documented,
    env_example,
    readme_with_table,
)
from devstack.demo.catalog import FAULTS
from songswipe import checkout
from songswipe.settings import REQUIRED, Settings, variables

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text()
ORDER = [
    "SongSwipe jobs",
    "Quick start",
    "What you see",
    "Try it with the real services",
    "Configuration",
    "How it fails and what to do",
    "Layout",
]


def section(title: str) -> str:
    return README.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def code() -> str:
    """What stands in backquotes."""
    parts = README.split("```")
    return "\n".join([*parts[1::2], *re.findall(r"`([^`\n]+)`", "".join(parts[::2]))])


def test_the_sections_come_in_order() -> None:
    assert re.findall(r"^##? (.+)$", README, re.M) == ORDER


def test_every_make_command_is_a_target() -> None:
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"\bmake ([a-z]+)", code()))

    assert {"demo", "test"} <= named <= targets


def test_every_devstack_command_exists() -> None:
    assert set(re.findall(r"-m devstack (\w+)", README)) <= set(COMMANDS)


def test_the_stripe_events_are_those_that_are_handled() -> None:
    listed = re.findall(r"`((?:checkout\.session|charge|refund)\.[a-z_.]+)`", README)

    assert set(listed) == {*checkout._CHECKOUT_EVENTS, *checkout._PAYMENT_EVENTS}


def test_the_faults_are_those_of_the_demo() -> None:
    listed = dict(re.findall(r"^  ([a-z-]+) {2,}(\S.*)$", section("What you see"), re.M))

    assert listed == {name: scenario.summary for name, scenario in FAULTS.items()}


def test_the_configuration_table_is_up_to_date() -> None:
    """If not: make docs."""
    assert readme_with_table(README) == README


def test_the_example_environment_is_up_to_date() -> None:
    """If not: make docs."""
    assert (PROJECT / ".env.example").read_text() == env_example()


def test_every_variable_is_documented_with_its_default() -> None:
    shown = {variable.name: variable.default for variable in documented()}

    assert {variable.name for variable, _ in variables()} <= set(shown)
    assert [v.name for v, default in variables() if default is REQUIRED] == [
        name for name, default in shown.items() if default is None
    ]


def test_the_example_environment_is_accepted_once_filled_in() -> None:
    lines = [line for line in env_example().splitlines() if line and not line.startswith("#")]
    environ = {name: value or "filled-in" for name, _, value in (x.partition("=") for x in lines)}

    assert Settings.from_environ(environ).stripe_livemode is False


def test_the_defaults_in_the_example_are_the_defaults() -> None:
    shown = dict(re.findall(r"^# ([A-Z_]+)=(.+)$", env_example(), re.M))
    required = {v.name: v.default or "" for v in documented() if v.default is None}
    example = {
        name: value
        for name, value in re.findall(r"^([A-Z_]+)=(.*)$", env_example(), re.M)
        if name in required
    }
    ours = {name: value for name, value in shown.items() if name in declared()}
    keys = {"INNGEST_EVENT_KEY": "event", "INNGEST_SIGNING_KEY": "signing"}

    assert Settings.from_environ(example | keys | ours) == Settings.from_environ(example | keys)


def declared() -> set[str]:
    return {variable.name for variable, _ in variables()}


def test_gunicorns_variables_are_those_that_it_reads() -> None:
    """Names and defaults, from the syntax tree of gunicorn.conf.py."""
    tree = ast.parse((PROJECT / "gunicorn.conf.py").read_text())
    read = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "os.environ.get"
        and isinstance(node.args[0], ast.Constant)
    }
    text = (PROJECT / "gunicorn.conf.py").read_text()
    defaults = dict(re.findall(r"environ\.get\(['\"](\w+)['\"]\) or ['\"]?(\d+)", text))

    assert read == {variable.name for variable in SERVING}
    assert defaults == {v.name: v.default for v in SERVING if v.name != "BIND"}


def test_every_path_of_the_layout_exists() -> None:
    paths = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`.+?) \|", section("Layout"), re.M)))

    assert len(paths) > 10
    assert [path for path in paths if not (PROJECT / path).exists()] == []


def test_every_table_and_view_that_it_names_exists() -> None:
    migrations = "".join(p.read_text() for p in (PROJECT / "supabase/migrations").glob("*.sql"))
    names = ("failed_jobs", "admin_orders", "admin_dead_letters", "admin_order_costs", "purchases")

    assert [name for name in names if f"public.{name}" not in migrations] == []
    assert [name for name in names if f"`{name}`" not in README] == []


def test_every_reason_of_ours_that_it_names_is_a_reason() -> None:
    files = [*(PROJECT / "songswipe").rglob("*.py"), *(PROJECT / "supabase").rglob("*.sql")]
    written = "".join(path.read_text() for path in files)
    reasons = (
        "outcome_unknown",
        "user_missing",
        "customization_missing",
        "customization_of_another_user",
        "user_id_malformed",
        "signature_invalid",
        "livemode_mismatch",
        "no song: ",
        "Top up the ElevenLabs credits",
        "new starts",
    )

    assert [reason for reason in reasons if reason not in README] == []
    assert [reason for reason in reasons if reason not in written] == []


def test_the_service_needs_no_variable_that_is_not_documented() -> None:
    """The environment is read in two places: the settings and gunicorn.conf.py."""
    readers = [
        path.name
        for path in (PROJECT / "songswipe").rglob("*.py")
        if re.search(r"os\.(environ|getenv)\b", path.read_text())
    ]

    assert readers == ["__init__.py"]
