"""The fake of the engine's steps enforces what the engine relies on."""

from __future__ import annotations

import pytest

from agentpay.testing import RecordingSteps, check_json


def test_each_step_has_a_key_of_its_own_and_is_frozen() -> None:
    body = {"op": "create", "lines": [1]}
    steps = RecordingSteps(body, key="k")
    body["op"] = "changed"
    assert (steps.key, steps.request["op"]) == ("k-1", "create")
    with pytest.raises(TypeError):
        steps.request["op"] = "x"  # type: ignore[index]
    steps.record("capture", {"op": "capture"}, reference="ref")
    assert (steps.key, dict(steps.request)) == ("k-2", {"op": "capture"})
    steps.check_sent("k-2", {"op": "capture"})


def test_what_was_not_recorded_is_not_sent() -> None:
    steps = RecordingSteps({"op": "create"}, key="k")
    with pytest.raises(AssertionError, match="not that of the recorded"):
        steps.check_sent("other", {"op": "create"})
    with pytest.raises(AssertionError, match="not the one that was recorded"):
        steps.check_sent("k-1", {"op": "capture"})


def test_a_step_is_sent_before_the_next_one_and_none_after_the_call() -> None:
    steps = RecordingSteps({"op": "create"}, key="k")
    with pytest.raises(AssertionError, match="never sent"):
        steps.record("capture", {}, reference="ref")
    assert steps.key
    with pytest.raises(AssertionError, match="provider's id"):
        steps.record("capture", {}, reference="")
    steps.finish()
    with pytest.raises(AssertionError, match="after the call was over"):
        steps.record("capture", {}, reference="ref")


def test_a_commit_that_fails_records_nothing() -> None:
    def fail(_: object) -> None:
        raise OSError("disk full")

    steps = RecordingSteps({}, key="k", on_record=fail)
    assert steps.key == "k-1"
    with pytest.raises(OSError, match="disk full"):
        steps.record("capture", {}, reference="ref")
    assert steps.key == "k-1"


@pytest.mark.parametrize("bad", [{"a": 0.1}, {"a": [{"b": 1.5}]}, {"a": (1,)}, {"a": object()}, {"a": float("nan")}])
def test_a_request_is_json_without_floats(bad: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        check_json(bad)
