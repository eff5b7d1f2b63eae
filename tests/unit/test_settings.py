"""The environment: read in one place, refused in one message, and never shown."""

from __future__ import annotations

import dataclasses

import pytest

from songswipe.errors import SettingsError
from songswipe.settings import REQUIRED, Settings, variables

COMPLETE = {
    "SUPABASE_URL": "https://project.supabase.co/",
    "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_hunter2",
    "STRIPE_WEBHOOK_SECRET": "whsec_hunter2",
    "STRIPE_SECRET_KEY": "sk_test_hunter2",
    "ELEVEN_LABS_API_KEY": "xi_hunter2",
    "INNGEST_EVENT_KEY": "event_hunter2",
    "INNGEST_SIGNING_KEY": "signkey_hunter2",
}
CONTRACT = {
    *COMPLETE,
    "INNGEST_DEV",
    "INNGEST_BASE_URL",
    "INNGEST_SIGNING_KEY_FALLBACK",
    "INNGEST_ENV",
    "ELEVEN_LABS_BASE_URL",
}
NAMES = [variable.name for variable, _ in variables()]


def read(**changes: str) -> Settings:
    return Settings.from_environ(COMPLETE | changes)


def problems_of(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        Settings.from_environ(environ)
    return raised.value.problems


def test_every_name_of_the_contract_is_read() -> None:
    assert set(NAMES) >= CONTRACT
    assert len(set(NAMES)) == len(NAMES)


def test_an_empty_environment_names_everything_that_is_missing_at_once() -> None:
    problems = problems_of({})

    assert {problem.split()[0] for problem in problems} == set(COMPLETE)
    assert all(" is missing. " in problem for problem in problems)


@pytest.mark.parametrize("name", COMPLETE)
@pytest.mark.parametrize("value", [None, "", "  \t"])
def test_each_required_variable_is_missed_by_name(name: str, value: str | None) -> None:
    """Nothing but white space is nothing."""
    environ = {**COMPLETE, name: value or ""}
    if value is None:
        del environ[name]
    [problem] = problems_of(environ)

    assert problem.startswith(f"{name} is missing")


def test_the_message_lists_every_problem_on_a_line_of_its_own() -> None:
    with pytest.raises(SettingsError) as raised:
        read(SUPABASE_URL="x", LOG_LEVEL="loud", PATIENCE_SECONDS="-1", ELEVEN_LABS_API_KEY="")
    lines = str(raised.value).splitlines()

    assert lines[0] == "The environment is not complete:"
    assert [line.split()[0] for line in lines[1:-1]] == [
        "SUPABASE_URL",
        "ELEVEN_LABS_API_KEY",
        "PATIENCE_SECONDS",
        "LOG_LEVEL",
    ]
    assert ".env.example" in lines[-1]


MALFORMED = {
    "SUPABASE_URL": ["project", "ftp://x", "http://", "http://[::1", "http://x:port", "http://x:0"],
    "SUPABASE_SERVICE_ROLE_KEY": ["clé", "two words", "line\nbreak"],
    "SUPABASE_TIMEOUT_SECONDS": ["0", "-1", "soon", "nan", "inf", "1e9"],
    "STRIPE_WEBHOOK_SECRET": ["hunter2", ",", "whsec_a,hunter2"],
    "STRIPE_SECRET_KEY": ["hunter2", "pk_live_hunter2", "sk_hunter2", "sk_live_clé"],
    "STRIPE_API_BASE": ["api.stripe.com"],
    "STRIPE_RECONCILE_CRON": ["daily"],
    "AUTO_REFUND": ["maybe", "2"],
    "WEBHOOK_BUDGET_SECONDS": ["0"],
    "INNGEST_EVENT_KEY": ["clé"],
    "INNGEST_SIGNING_KEY": ["clé"],
    "INNGEST_SIGNING_KEY_FALLBACK": ["clé"],
    "INNGEST_BASE_URL": ["inngest"],
    "GENERATION_CONCURRENCY": ["-1", "1.5", "many"],
    "GENERATION_DEADLINE_SECONDS": ["0"],
    "HANDOVER_GRACE_SECONDS": ["0"],
    "MAX_REDRIVES": ["-1"],
    "RECONCILE_CRON": ["hourly", "* * * *", "* * * * * *"],
    "ELEVEN_LABS_API_KEY": ["clé", "two words"],
    "ELEVEN_LABS_BASE_URL": ["api.elevenlabs.io"],
    "MUSIC_OUTPUT_FORMAT": ["pcm_44100", "auto"],
    "MUSIC_CONNECT_TIMEOUT_SECONDS": ["0"],
    "MUSIC_READ_TIMEOUT_SECONDS": ["0"],
    "MUSIC_TOTAL_TIMEOUT_SECONDS": ["0"],
    "PATIENCE_SECONDS": ["0", "a while"],
    "MAX_BODY_BYTES": ["-1", "1 MB"],
    "LOG_LEVEL": ["loud", "5"],
}
ANY_TEXT = {"INNGEST_DEV", "INNGEST_ENV", "MUSIC_MODEL_ID"}


def test_every_variable_has_a_malformed_example_here_or_takes_any_text() -> None:
    """So that one that is added is thought about."""
    assert set(NAMES) == set(MALFORMED) | ANY_TEXT


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in MALFORMED.items() for value in values]
)
def test_a_malformed_value_is_named_and_said_what_it_must_be(name: str, value: str) -> None:
    [problem] = problems_of(COMPLETE | {name: value})

    assert problem.startswith((f"{name} must be ", f"{name} is not a number"))
    assert "number" in problem or not problem.endswith("is not a number.")
    assert "hunter2" not in problem
    assert "clé" not in problem


def test_words_about_numbers_are_used_of_numbers_alone() -> None:
    for name in ("SUPABASE_URL", "STRIPE_WEBHOOK_SECRET", "ELEVEN_LABS_API_KEY", "LOG_LEVEL"):
        for value in MALFORMED[name]:
            assert "number" not in problems_of(COMPLETE | {name: value})[0]


def test_no_secret_is_shown_when_settings_are_printed() -> None:
    settings = read(INNGEST_SIGNING_KEY_FALLBACK="fallback_hunter2")

    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings)
    assert "project.supabase.co" in repr(settings)


def test_every_key_is_marked_as_a_secret() -> None:
    secret = {variable.name for variable, _ in variables() if variable.secret}

    assert secret == {name for name in NAMES if "KEY" in name or "SECRET" in name}


def test_without_the_optional_variables_the_documented_defaults_hold() -> None:
    settings = read()

    assert settings.supabase_url == "https://project.supabase.co"
    assert settings.eleven_labs_base_url == "https://api.elevenlabs.io"
    assert settings.music_model_id == "music_v1"
    assert settings.music_output_format == "mp3_44100_128"
    assert settings.reconcile_cron == "*/2 * * * *"
    assert settings.max_body_bytes == 1024 * 1024
    assert settings.generation_concurrency == 0
    assert settings.inngest_is_dev is False
    assert settings.stripe_livemode is False


def test_stripe_has_its_answer_within_three_seconds_by_default() -> None:
    assert read().webhook_budget_seconds < 3


def test_the_provider_may_take_minutes_by_default() -> None:
    settings = read()

    assert settings.music_read_timeout_seconds >= 300
    assert settings.music_total_timeout_seconds > settings.music_read_timeout_seconds


def test_a_claim_outlives_the_longest_call_and_everything_after_it() -> None:
    """Else a second worker could buy what the first is still waiting for."""
    settings = read(MUSIC_TOTAL_TIMEOUT_SECONDS="1000", PATIENCE_SECONDS="100")

    assert settings.claim_lease_seconds > 1000 + 300 + 100
    assert read().claim_lease_seconds < settings.generation_deadline_seconds


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("whsec_a", ("whsec_a",)),
        ("whsec_a,whsec_b", ("whsec_a", "whsec_b")),
        (" whsec_a , whsec_b ,", ("whsec_a", "whsec_b")),
    ],
)
def test_several_webhook_secrets_are_separated_by_commas(
    text: str, secrets: tuple[str, ...]
) -> None:
    assert read(STRIPE_WEBHOOK_SECRET=text).stripe_webhook_secrets == secrets


@pytest.mark.parametrize(
    ("key", "livemode"),
    [("sk_live_x", True), ("rk_live_x", True), ("sk_test_x", False), ("rk_test_x", False)],
)
def test_the_stripe_key_tells_live_from_test(key: str, livemode: bool) -> None:
    assert read(STRIPE_SECRET_KEY=key).stripe_livemode is livemode


@pytest.mark.parametrize("value", ["1", "true", "http://127.0.0.1:8288"])
def test_a_dev_server_needs_no_keys(value: str) -> None:
    environ = {name: text for name, text in COMPLETE.items() if not name.startswith("INNGEST")}
    settings = Settings.from_environ(environ | {"INNGEST_DEV": value})

    assert settings.inngest_is_dev is True
    assert settings.inngest_event_key == ""


@pytest.mark.parametrize("value", ["", "0", "false", "False"])
def test_without_a_dev_server_both_keys_are_needed(value: str) -> None:
    environ = {name: text for name, text in COMPLETE.items() if not name.startswith("INNGEST")}
    problems = problems_of(environ | {"INNGEST_DEV": value})

    assert {problem.split()[0] for problem in problems} == {
        "INNGEST_EVENT_KEY",
        "INNGEST_SIGNING_KEY",
    }


def test_variables_of_others_are_not_its_business() -> None:
    assert read(PATH="/bin", SUPABASE_ANON_KEY="clé") == read()


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().supabase_url = "x"  # type: ignore[misc]


def test_every_variable_says_what_it_is_for() -> None:
    for variable, default in variables():
        assert variable.help.endswith("."), variable.name
        assert default is REQUIRED or variable.name not in COMPLETE or "INNGEST" in variable.name
