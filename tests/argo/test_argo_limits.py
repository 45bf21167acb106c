"""The published limits; the bounds are those of the design, section 8."""

from __future__ import annotations

import pytest

from argo import limits
from argo.errors import InvalidArgumentError


def test_the_published_bounds() -> None:
    assert (limits.QUESTION_CHARACTERS, limits.OPTIONS, limits.TOP_K) == (2000, (2, 10), (1, 20))
    assert (limits.FAN_OUT, limits.STEPS, limits.BUDGET_MS) == ((1, 8), (1, 10), (50, 60_000))
    assert (limits.REQUEST_BYTES, limits.REPLY_BYTES) == (262_144, 4_194_304)
    assert (limits.CALL_FRAME_BYTES, limits.DOCUMENT_BYTES) == (131_072, 33_554_432)


@pytest.mark.parametrize("value", [0, 21])
def test_a_value_out_of_range_is_named_with_field_and_bound(value: int) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"^top_k must be in 1\.\.20, got {value}$"):
        limits.check_range("top_k", value, limits.TOP_K)


@pytest.mark.parametrize("value", [1, 20])
def test_the_bounds_themselves_are_allowed(value: int) -> None:
    assert limits.check_range("top_k", value, limits.TOP_K) == value


@pytest.mark.parametrize("value", [0, 50, 60_000])
def test_no_budget_and_the_bounds_of_a_budget_are_allowed(value: int) -> None:
    assert limits.check_budget_ms(value) == value


@pytest.mark.parametrize("value", [-1, 1, 49, 60_001, 61_000])
def test_a_budget_out_of_bounds_is_refused(value: int) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"budget_ms must be 0 .* 50\.\.60000, got {value}$"):
        limits.check_budget_ms(value)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_blank_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="question must not be empty or blank"):
        limits.check_text("question", text, 2000)


def test_text_at_the_limit_passes_and_one_more_character_does_not() -> None:
    assert limits.check_text("question", " " + "a" * 2000 + " ", 2000) == "a" * 2000
    with pytest.raises(InvalidArgumentError, match="question must have at most 2000 characters, got 2001"):
        limits.check_text("question", "a" * 2001, 2000)


@pytest.mark.parametrize("character", ["\0", "\x1b", "\x7f", "\x85"])
def test_a_control_character_is_named_with_its_place(character: str) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"U\+{ord(character):04X} at character 2"):
        limits.check_text("question", f"ab{character}cd", 2000)


def test_line_breaks_and_tabs_are_no_control_characters() -> None:
    assert limits.check_text("question", "a\tb\r\nc", 2000) == "a\tb\r\nc"


@pytest.mark.parametrize("count", [1, 11])
def test_one_option_and_eleven_are_refused(count: int) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"options must be empty or hold 2\.\.10 entries, got {count}"):
        limits.check_options([f"option {index}" for index in range(count)])


def test_no_options_mean_a_free_answer() -> None:
    assert limits.check_options([]) == []


def test_options_that_differ_in_case_and_blanks_only_are_duplicates() -> None:
    with pytest.raises(InvalidArgumentError, match=r"got options\[2\] equal to options\[0\]"):
        limits.check_options(["The  RIC", "the SMO", " the ric "])


def test_a_blank_option_is_named_with_its_index() -> None:
    with pytest.raises(InvalidArgumentError, match=r"options\[1\] must not be empty"):
        limits.check_options(["a", " "])


@pytest.mark.parametrize("value", ["", "a" * 65, "a/b", "a b", "\u00e9"])
def test_a_session_id_outside_of_its_alphabet_or_length_is_refused(value: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"session_id must be 1..64 characters"):
        limits.check_session_id(value)


def test_a_session_id_of_the_alphabet_passes() -> None:
    assert limits.check_session_id("Run-7_a.b") == "Run-7_a.b"
