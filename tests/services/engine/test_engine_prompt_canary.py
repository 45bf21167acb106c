from __future__ import annotations

import base64
import codecs
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo.errors import InvalidArgumentError
from services.engine.port import GenerationRequest, Message, Sampling
from services.engine.prompt_canary import LeakedPromptError, LeakGuard, PromptCanary

_SECRET = "k7wqz2mxj4vtb6yd"
_CANARY = PromptCanary(_SECRET)
_PROSE = "The O-DU hosts the RLC and MAC layers; see clause 4.2 of O-RAN.WG4.CUS.0-v10.00 (page 7)."


def _through(deltas: list[str]) -> tuple[str, bool]:
    """What was let out, and whether the rest was withheld."""
    guard, shown = LeakGuard(_CANARY), ""
    try:
        for delta in deltas:
            shown += guard.feed(delta)
        return shown + guard.finish(), False
    except LeakedPromptError:
        return shown, True


_DISGUISES: dict[str, Callable[[str], str]] = {
    "plain": str,
    "capitals": str.upper,
    "title": str.title,
    "spaced": " ".join,
    "spelled with dashes": "-".join,
    "one a line": "\n".join,
    "zero-width": "\u200b".join,
    "wide": lambda text: "".join(chr(ord(letter) + 0xFEE0) for letter in text),
    "backwards": lambda text: text[::-1],
    "backwards in capitals": lambda text: text[::-1].upper(),
    "base 64": lambda text: base64.b64encode(text.encode()).decode(),
    "base 64 of capitals": lambda text: base64.b64encode(text.upper().encode()).decode(),
    "base 64, one character in": lambda text: base64.b64encode(f"x{text} and more".encode()).decode(),
    "base 64, two characters in": lambda text: base64.b64encode(f"xy{text} and more".encode()).decode(),
    "base 64 backwards": lambda text: base64.b64encode(text.encode()).decode()[::-1],
    "hexadecimal": lambda text: text.encode().hex(" "),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "the most of it": lambda text: text[2:-2],
}


@pytest.mark.parametrize("disguise", _DISGUISES.values(), ids=_DISGUISES.keys())
@pytest.mark.parametrize("size", [1, 3, 7, 1_000])
def test_the_secret_is_withheld_in_each_disguise_however_the_text_is_cut(
    disguise: Callable[[str], str], size: int
) -> None:
    leaked = disguise(_SECRET)
    text = f"{_PROSE} {leaked} {_PROSE}"
    shown, withheld = _through([text[at : at + size] for at in range(0, len(text), size)])
    assert withheld
    # Nothing but the prose before it, and the three characters that may begin any word; in base 64, as many again that
    # code a character before it.
    assert shown in f"{_PROSE} {leaked}"
    assert sum(character.isalnum() for character in shown) <= sum(character.isalnum() for character in _PROSE) + 6


@given(st.lists(st.text(max_size=12), max_size=30))
def test_any_other_text_passes_unchanged(deltas: list[str]) -> None:
    assert _through(deltas) == ("".join(deltas), False)


@given(st.integers(1, 9), st.integers(0, 9), st.integers(1, 8))
def test_a_few_characters_of_the_secret_are_no_leak(length: int, start: int, size: int) -> None:
    text = f"{_PROSE} 0. {_SECRET[start : start + length]}! 0. {_PROSE}"
    assert _through([text[at : at + size] for at in range(0, len(text), size)]) == (text, False)


def test_prose_is_never_held_back() -> None:
    guard = LeakGuard(_CANARY)
    assert [guard.feed(word) for word in _PROSE.split()] == _PROSE.split()


def test_the_secret_stands_in_the_system_message_alone() -> None:
    asked = GenerationRequest((Message("system", "Rules."), Message("user", "Question?")), Sampling(max_tokens=8))
    system, user = _CANARY.planted(asked).messages
    assert system.role == "system" and system.content.startswith("Rules.\n") and _SECRET in system.content
    assert user == Message("user", "Question?")


def test_two_starts_have_two_secrets() -> None:
    asked = GenerationRequest((Message("system", ""),), Sampling(max_tokens=8))
    assert PromptCanary().planted(asked) != PromptCanary().planted(asked)


@pytest.mark.parametrize("secret", ["short", "sixteen letters!", "\u00e4" * 16])
def test_a_secret_that_cannot_be_found_again_is_refused_and_not_told(secret: str) -> None:
    with pytest.raises(InvalidArgumentError, match="prompt_canary must be at least 12 letters and digits") as refused:
        PromptCanary(secret)
    assert secret not in str(refused.value)
