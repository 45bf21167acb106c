"""Parameters, quality functions, times and policy files: what is refused, and how it is said."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from argo.errors import InvalidArgumentError, NotReadyError
from orchestrator.action import REASON, TERMINATE, retrieve
from orchestrator.action_time import BUILTIN_TIMES, ActionTimes, AnswerMode, microseconds_down, microseconds_up
from orchestrator.parameter import BUILTIN_PARAMETERS, MdpParameters
from orchestrator.policy_file import PolicyFile, dump_policy_file, load_policy_file
from orchestrator.quality import QUALITIES, quality


@pytest.mark.parametrize(
    ("field", "value", "bound"),
    [
        ("retrieve_gain", 0.0, "(0, 1]"),
        ("reason_gain", 1.5, "(0, 1]"),
        ("success_probability", -0.1, "[0, 1]"),
        ("success_probability", math.nan, "[0, 1]"),
        ("reason_success_probability", 1.0001, "[0, 1]"),
        ("overlap", math.inf, "[0, 1]"),
        ("retrieve_cost", -1.0, "[0, 1e+06]"),
        ("reason_cost", math.nan, "[0, 1e+06]"),
        ("cost_weight", -0.6, "[0, 1e+06]"),
        ("discount", 0.0, "(0, 1]"),
        ("discount", 1.01, "(0, 1]"),
        ("extractive_quality", 2.0, "[0, 1]"),
        ("retrieve_gain", True, "(0, 1]"),
        ("retrieve_gain", "0.25", "(0, 1]"),
        ("retrieve_cost", 10**400, "[0, 1e+06]"),
    ],
)
def test_a_bad_parameter_is_refused_with_field_value_and_bound(field: str, value: object, bound: str) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        MdpParameters(**{field: value})  # type: ignore[arg-type]
    assert refusal.value.message == f"{field} must be a number in {bound}, got {value!r}"


def test_free_steps_are_refused_unless_asked_for() -> None:
    with pytest.raises(InvalidArgumentError, match="cost_weight must be above 0 unless allow_free is set, got 0"):
        MdpParameters(cost_weight=0.0)
    assert MdpParameters(cost_weight=0, allow_free=True).cost_weight == 0.0


def test_the_defaults_are_those_of_the_design() -> None:
    assert MdpParameters().to_mapping() == {
        "retrieve_gain": 0.25,
        "reason_gain": 0.08,
        "success_probability": 0.8,
        "reason_success_probability": 0.3,
        "held_closed": 1.0,
        "held_once": 0.0,
        "held_twice": 0.0,
        "overlap": 0.2,
        "retrieve_cost": 0.05,
        "reason_cost": 0.02,
        "rules_cost": 0.02,
        "cost_weight": 0.6,
        "discount": 0.98,
        "quality": "linear",
        "quality_k": 5.0,
        "extractive_quality": 0.7,
        "allow_free": False,
    }
    assert BUILTIN_PARAMETERS.extractive_quality == 1.0


@pytest.mark.parametrize(
    ("name", "at_0", "at_quarter", "at_1"),
    [
        # By hand, k = 5: 1 - exp(-1.25) = 0.713495, 1 - exp(-5) = 0.993262;
        # 1 / (1 + exp(2.5)) = 0.075858, 1 / (1 + exp(1.25)) = 0.222700, 1 / (1 + exp(-2.5)) = 0.924142.
        ("linear", 0.0, 0.25, 1.0),
        ("sqrt", 0.0, 0.5, 1.0),
        ("saturating", 0.0, 0.713495, 0.993262),
        ("sigmoid", 0.075858, 0.222700, 0.924142),
    ],
)
def test_quality_functions_have_their_hand_computed_values(
    name: str, at_0: float, at_quarter: float, at_1: float
) -> None:
    assert quality(name)(np.array([0.0, 0.25, 1.0])) == pytest.approx([at_0, at_quarter, at_1], abs=1e-6)


def test_an_unknown_quality_is_refused_with_the_known_names() -> None:
    with pytest.raises(
        InvalidArgumentError, match="quality must be one of linear, sqrt, saturating, sigmoid, got 'log'"
    ):
        quality("log")
    for k in (0.0, -1.0, 101.0, math.nan):
        with pytest.raises(InvalidArgumentError, match=r"quality_k must be in \(0, 100\]"):
            quality("sigmoid", k)


def test_a_larger_fan_out_is_never_taken_to_be_faster() -> None:
    noisy = ActionTimes(
        retrieve_s=(0.02, 0.03, 0.025, 0.04, 0.04, 0.04, 0.04, 0.04),
        reason_s=None,
        free_answer_s=0.2,
        choice_answer_s=0.1,
        extractive_answer_s=0.01,
    )
    assert noisy.action_s(retrieve(3)) == 0.03
    assert noisy.action_s(TERMINATE) == 0.0
    assert (noisy.answer_s(AnswerMode.FREE), noisy.answer_s(AnswerMode.CHOICE)) == (0.2, 0.1)
    with pytest.raises(InvalidArgumentError, match="reason_s must be set"):
        noisy.action_s(REASON)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"retrieve_s": [0.1]}, "retrieve_s must hold 8 times"),
        ({"retrieve_s": [0.1] * 7 + [0.0]}, r"retrieve_s\[7\] must be a number in \(0, 3600\], got 0.0"),
        ({"free_answer_s": math.nan}, r"free_answer_s must be a number in \(0, 3600\], got nan"),
        ({"reason_s": -0.1}, r"reason_s must be a number in \(0, 3600\], got -0.1"),
        ({"answer_s": 0.1}, "times has no field 'answer_s'"),
    ],
)
def test_bad_times_are_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        ActionTimes.from_mapping({**BUILTIN_TIMES.to_mapping(), **change})


def test_times_become_microseconds_on_the_safe_side() -> None:
    # 0.3 is a float just below three tenths and 0.1 + 0.2 one just above: both are 300,000 microseconds.
    assert microseconds_down(0.3) == 300_000
    assert microseconds_up(0.1 + 0.2) == 300_000
    assert microseconds_up(0.0200001) == 20_001
    assert microseconds_down(0.0199999) == 19_999
    assert microseconds_down(-0.0000005) == -1


def test_a_policy_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    content = PolicyFile(
        MdpParameters(success_probability=0.61, quality=quality("saturating", 3.0), discount=1), BUILTIN_TIMES
    )
    path = tmp_path / "policy.json"
    path.write_text(dump_policy_file(content))
    assert load_policy_file(path) == content


def test_a_policy_file_keeps_defaults_for_what_it_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text('{"parameters": {"success_probability": 0.5}}')
    assert load_policy_file(path) == PolicyFile(MdpParameters(success_probability=0.5), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"parameters": {"p_s": 0.5}}', "parameters has no field 'p_s'; its fields are retrieve_gain"),
        ('{"thresholds": {}}', "the file has no field 'thresholds'"),
        ('{"parameters": {"success_probability": NaN}}', "numbers must be finite, got NaN"),
        ('{"parameters": {"overlap": 1e999}}', r"overlap must be a number in \[0, 1\], got inf"),
        ('{"parameters": {"overlap": "a"}}', r"overlap must be a number in \[0, 1\], got 'a'"),
        ('{"parameters": {"quality": ["x"]}}', "quality must be one of"),
        ('{"parameters": {"allow_free": 1}}', "allow_free must be true or false, got 1.0"),
        ('{"parameters": {"overlap": 0.1, "overlap": 0.2}}', "field 'overlap' is given twice"),
        ('{"times": {"free_answer_s": 1}}', "times must give retrieve_s, which is missing"),
        ('{"parameters": {"overlap": 1' + "0" * 5000 + "}}", r"overlap must be a number in \[0, 1\], got inf"),
        ("[" * 20_000, "nested too deep"),
        ("[]", "the file must be a JSON object, got list"),
        ("{", "not JSON, line 1 column 2"),
    ],
)
def test_a_bad_policy_file_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(text)
    with pytest.raises(InvalidArgumentError, match=message) as refusal:
        load_policy_file(path)
    assert "policy.json" in refusal.value.message


def test_a_missing_policy_file_needs_an_operator(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match="cannot be read: No such file"):
        load_policy_file(tmp_path / "absent.json")


@pytest.mark.parametrize("name", QUALITIES)
def test_the_written_parameters_are_plain_json(name: str) -> None:
    parameters = MdpParameters(quality=quality(name))
    assert MdpParameters.from_mapping(json.loads(json.dumps(parameters.to_mapping()))) == parameters
