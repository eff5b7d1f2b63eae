"""What the music provider can do to an order."""

from __future__ import annotations

from devstack.demo.progress import Line
from devstack.demo.scenarios import (
    Scenario,
    saw_calls,
    saw_dead_letters,
    saw_songs,
    saw_status,
    seen,
)
from devstack.demo.scene import Scene
from devstack.faults import Call, always, times
from devstack.music.faults import BAD_PROMPT, throttled, unavailable
from devstack.stack import Options

_RETRY_AFTER_SECONDS = 3
_RETRY_INTERVAL_SECONDS = 0.6


def _is_music(call: Call) -> bool:
    return call.service == "music"


def play_rejected(scene: Scene) -> list[Line]:
    scene.stack.faults.add(times(1, BAD_PROMPT, _is_music))
    payment = scene.pay()
    scene.deliver(payment.event)
    order = scene.follow(payment)
    variants = scene.stack.shop.variants(order["id"])
    reasons = [row["failure_reason"] for row in variants if row["generation_status"] == "failed"]
    return [
        saw_status(order, "completed"),
        saw_songs(scene, order, expected=2),
        seen(f"One song failed, for the reason {', '.join(reasons)}.", reasons == ["bad_prompt"]),
        saw_calls(scene, order, calls=3, bought=2),
        saw_dead_letters(scene, expected=0),
    ]


def play_throttled(scene: Scene) -> list[Line]:
    scene.stack.faults.add(times(1, throttled(_RETRY_AFTER_SECONDS), _is_music))
    payment = scene.pay()
    scene.deliver(payment.event)
    order = scene.follow(payment)
    calls = sorted(scene.stack.provider.calls, key=lambda call: call.at)
    refused = next(call for call in calls if call.outcome == "throttled")
    waited = calls[-1].at - refused.at
    return [
        saw_status(order, "completed"),
        saw_songs(scene, order, expected=3),
        saw_calls(scene, order, calls=4, bought=3),
        seen(
            f"The refused song was asked for again after {waited:.1f} s; the other two were not.",
            waited >= _RETRY_AFTER_SECONDS,
        ),
    ]


def play_provider_down(scene: Scene) -> list[Line]:
    scene.stack.faults.add(always(unavailable(503), _is_music))
    payment = scene.pay()
    scene.deliver(payment.event)
    order = scene.follow(payment)
    retries = sum(letter["retry_count"] for letter in scene.stack.shop.dead_letters())
    return [
        saw_status(order, "failed"),
        saw_calls(scene, order, calls=15, bought=0),
        saw_dead_letters(scene, expected=1),
        seen(f"Its retry_count is {retries}.", retries == 4),
    ]


def play_auto_refund(scene: Scene) -> list[Line]:
    scene.stack.faults.add(always(BAD_PROMPT, _is_music))
    payment = scene.pay()
    scene.deliver(payment.event)
    order = scene.follow(payment)
    refunds = [refund["amount"] for refund in scene.stack.stripe_api.refunds.values()]
    paid_back = sum(refunds) / 100
    return [
        saw_status(order, "refunded"),
        saw_calls(scene, order, calls=3, bought=0),
        seen(
            f"Refunds at Stripe: {len(refunds)}, {paid_back:.2f} in all.",
            refunds == [payment.session["amount_total"]],
        ),
    ]


REJECTED = Scenario(
    name="rejected",
    summary="the provider rejects the content of one song",
    done="The provider rejects one of the three songs (400 bad_prompt).",
    play=play_rejected,
)
THROTTLED = Scenario(
    name="throttled",
    summary="429 with Retry-After for one song",
    done=f"The provider answers 429 once, with Retry-After: {_RETRY_AFTER_SECONDS}. Without that "
    f"header the engine would try again after {_RETRY_INTERVAL_SECONDS} s.",
    play=play_throttled,
    options=Options(retry_interval_seconds=_RETRY_INTERVAL_SECONDS),
)
PROVIDER_DOWN = Scenario(
    name="provider-down",
    summary="the provider answers 503 until all attempts are used up",
    done="The provider answers 503 to every call. The engine waits "
    f"{_RETRY_INTERVAL_SECONDS} s between attempts here; Inngest waits 15 s to 2.5 minutes.",
    play=play_provider_down,
    options=Options(retry_interval_seconds=_RETRY_INTERVAL_SECONDS),
)
AUTO_REFUND = Scenario(
    name="auto-refund",
    summary="the provider rejects all three songs, and AUTO_REFUND is on",
    done="The provider rejects all three songs, and AUTO_REFUND is true.",
    play=play_auto_refund,
    options=Options(app_environ={"AUTO_REFUND": "true"}),
)
