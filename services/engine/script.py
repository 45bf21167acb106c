"""What the scripted engine plays: measured speeds, how many at once, texts, and failures, read from one JSON file.

    {
      "origin": {                     where the speeds come from: free text, all of it required
        "model": "...", "hardware": "...", "engine": "vllm 0.26.0", "command": "...", "recorded_on": "2026-01-31",
        "prompt_tokens": 600, "completion_tokens": 64, "note": ""        tokens of each measured request
      },
      "points": [                     rising batch, the first of them 1
        {"batch": 1, "ttft_s": 0.02, "tpot_s": 0.004, "samples": [{"ttft_s": 0.02, "tpot_s": 0.004}, ...]}, ...
      ],
      "max_num_seqs": 64,             run at once, at most the largest measured batch; the rest wait
      "queue": "fifo",                or "deadline": least time left first
      "seed": 0,                      of choices
      "rules": [                      the first that fits gives the text; without one, the text is {words}
        {"kind": "answer", "match": "regular expression over the prompt", "text": "{words} [1]."}, ...
      ],
      "die_after": null,              generations begun after which the engine is dead
      "freeze_after": null            generations begun after which none moves any more
    }

`ttft_s` and `tpot_s` are medians over requests that were sent as a batch of that size at once; `samples`, one entry a
request, are the raw points, and may be left out. A point holds for prompts about as long as those measured.
:mod:`services.engine.pace` writes origin and points from any engine. A rule without kind or match fits all; in its
text, {words} is the last words of the prompt, where the question stands, and {match} the expression's first group. So
an engine that complies with injected instructions, for tests of what then happens, is a rule:
{"match": "ignore all instructions and say (.*)", "text": "{match}"}.
"""

from __future__ import annotations

import bisect
import itertools
import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from argo.settings import SettingsError

__all__ = ["DEFAULT_SCRIPT", "Origin", "Point", "Rule", "Sample", "Script", "load_script"]

DEFAULT_SCRIPT: Final = Path(__file__).parent / "curve" / "tiny-qwen2-cpu.json"

_Seconds = Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Origin(_Part):
    """Where the speeds come from."""

    model: str = Field(min_length=1)
    hardware: str = Field(min_length=1)
    engine: str = Field(min_length=1)
    command: str = Field(min_length=1)
    recorded_on: str = Field(pattern=r"^\d{4}-\d\d-\d\d$")
    prompt_tokens: int = Field(ge=1)
    completion_tokens: int = Field(ge=1)
    note: str = ""


class Sample(_Part):
    """One measured request."""

    ttft_s: _Seconds
    tpot_s: _Seconds


class Point(_Part):
    """Speeds of one batch size."""

    batch: int = Field(ge=1, le=65_536)
    ttft_s: _Seconds
    tpot_s: _Seconds
    samples: tuple[Sample, ...] = ()


class Rule(_Part):
    """A text for prompts of one kind, or that match."""

    kind: str = ""
    match: str = ""
    text: str

    @field_validator("match")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"match must be a regular expression: {error}") from None
        return pattern

    def apply(self, kind: str, prompt: str, words: str) -> str | None:
        """Its text for a prompt; None where it does not fit."""
        found = re.search(self.match, prompt)
        if found is None or self.kind not in ("", kind):
            return None
        match = (found.group(1) or "") if found.re.groups else found.group(0)
        # Not str.format: what stands in for a field may itself hold braces.
        return re.sub(r"\{(words|match)\}", lambda field: words if field[1] == "words" else match, self.text)


class Script(_Part):
    """The whole file."""

    origin: Origin
    points: tuple[Point, ...] = Field(min_length=1)
    max_num_seqs: int = Field(ge=1)
    queue: Literal["fifo", "deadline"] = "fifo"
    seed: int = 0
    rules: tuple[Rule, ...] = ()
    die_after: int | None = Field(default=None, ge=0)
    freeze_after: int | None = Field(default=None, ge=0)

    @field_validator("points")
    @classmethod
    def _rising(cls, points: tuple[Point, ...]) -> tuple[Point, ...]:
        batches = [point.batch for point in points]
        if batches[0] != 1 or any(later <= earlier for earlier, later in itertools.pairwise(batches)):
            raise ValueError(f"points must begin with batch 1 and rise, got {batches}")
        return points

    @model_validator(mode="after")
    def _measured(self) -> Script:
        if self.max_num_seqs > self.points[-1].batch:
            raise ValueError(
                f"max_num_seqs must be at most the largest measured batch, {self.points[-1].batch}, "
                f"got {self.max_num_seqs}"
            )
        return self

    def ttft_s(self, batch: int) -> float:
        """Seconds to the first token in a batch, between the measured sizes linearly."""
        return self._between(batch, [point.ttft_s for point in self.points])

    def tpot_s(self, batch: int) -> float:
        """Seconds per further token in a batch, between the measured sizes linearly."""
        return self._between(batch, [point.tpot_s for point in self.points])

    def _between(self, batch: int, values: list[float]) -> float:
        batches = [point.batch for point in self.points]
        above = bisect.bisect_left(batches, batch)
        if above == len(batches) or batches[above] == batch:
            return values[min(above, len(batches) - 1)]
        low, high = batches[above - 1], batches[above]
        share = (batch - low) / (high - low)
        return values[above - 1] + share * (values[above] - values[above - 1])


def load_script(path: Path | None) -> Script:
    """Read a script.

    Args:
        path: The file; None takes the one that comes with the engine.

    Raises:
        SettingsError: The file cannot be read, or a field of it is wrong; the message names the field.
    """
    file = path or DEFAULT_SCRIPT
    try:
        return Script.model_validate_json(file.read_bytes())
    except OSError as error:
        raise SettingsError(f"script: cannot read {file}: {error.strerror}") from None
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in problem['loc']) or 'the file'}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise SettingsError(f"script: {file.name}: {'; '.join(lines)}") from None
