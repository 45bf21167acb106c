"""Settings of a service that may run a language model; the services' own classes begin with these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from argo.errors import InvalidArgumentError
from argo.settings import ServerSettings

__all__ = ["ENGINE_NAMES", "EngineSettings", "engine_settings"]

ENGINE_NAMES = ("builtin", "vllm", "openai", "scripted")


class EngineSettings(ServerSettings):
    """Which engine generates, from which model, on which GPUs."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    engine: str = "builtin"
    """Engine by name: "builtin" is rules and needs no model; "vllm" runs in this process; "openai" calls a server that
    speaks OpenAI's protocol; "scripted" replays a saved curve of speeds for load tests, and says nothing of O-RAN."""

    model: str = ""
    """Name or folder of the model; empty takes the profile's."""

    profile: str = "default"
    """Named set of engine options and sampling; `python -m services.engine profiles` lists them."""

    engine_options: Annotated[dict[str, Any], NoDecode] = Field(default_factory=dict)
    """vLLM engine options as a JSON object, on top of the profile's; one that the installed vLLM lacks is refused."""

    gpus: Annotated[tuple[int, ...], NoDecode] = ()
    """Physical GPUs for this engine alone, such as "0" or "1,2": the model is split over several. Empty for the
    profile's tensor_parallel_size on whatever GPUs the process sees; meaningless on vLLM's CPU build."""

    gpu_memory_share: float | None = Field(default=None, gt=0, le=1)
    """Share of each GPU's memory to take; None takes the profile's. Needed where two engines share a GPU."""

    base_url: str = ""
    """Of the OpenAI-compatible server, such as http://127.0.0.1:8000/v1."""

    api_key: SecretStr | None = None
    """Sent to that server; never shown."""

    script: Path | None = None
    """Curve file of the scripted engine; None takes the one that comes with it."""

    prompt_canary: SecretStr | None = Field(default=None, min_length=12, max_length=64)
    """Secret of letters and digits in the system prompt; what holds it is never shown. None takes a random one at each
    start (none with "scripted"); a fixed one keeps the prompts, and so greedy answers, the same from start to start."""

    max_running: int | None = Field(default=None, ge=1, le=65_536)
    """Generations that the engine is given at once; more wait for their turn. None takes as many as it computes at once
    (its max_num_seqs), and 256 with "openai", whose server does not tell. Set it there to what the server computes at
    once, or the server's own queue is the one that grows. More than the engine computes keeps some ready inside it, so
    that its batch is full at every step; these go by its own order. Unused with "builtin"."""

    max_queued: int = Field(default=2_048, ge=0, le=65_536)
    """Generations that wait besides, the one whose time runs out first at the front; more are refused at once with
    RESOURCE_EXHAUSTED and the time after which to try again. As many as the subqueries of an orchestrator with its
    defaults, 256 questions of 8 each, so that a run without budgets waits and loses nothing; with budgets the time left
    refuses long before. 0 refuses at once."""

    expected_batch: int = Field(default=8, ge=1, le=1024)
    """Requests that a warm-up runs at once."""

    canary_interval_s: float = Field(default=1.0, gt=0, le=300)
    """Seconds without a token after which one is asked for, to see that the engine still answers."""

    canary_timeout_s: float = Field(default=1.5, gt=0, le=60)
    """Seconds in which it must come; with the interval, the longest that a hung engine is called healthy. Generations
    are refused until one comes again, and those that wait are given up when the next one does not come either. While a
    prompt waits for its first token it is four times what that was measured to take, where that is more."""

    @field_validator("engine")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in ENGINE_NAMES:
            raise ValueError(f"engine must be one of {', '.join(ENGINE_NAMES)}")
        return name

    @field_validator("engine_options", mode="before")
    @classmethod
    def _options(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            options = json.loads(value or "{}")
        except json.JSONDecodeError as error:
            raise ValueError(f"engine_options must be a JSON object: {error}") from None
        if not isinstance(options, dict):
            raise ValueError("engine_options must be a JSON object")
        return options

    @field_validator("gpus", mode="before")
    @classmethod
    def _gpus(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = [part.strip() for part in value.split(",") if part.strip()]
        if not all(part.isdecimal() for part in parts):
            raise ValueError('gpus must be indexes parted by commas, such as "0" or "1,2"')
        if len(set(parts)) != len(parts):
            raise ValueError("gpus must name each GPU once")
        return tuple(int(part) for part in parts)

    @model_validator(mode="after")
    def _server_named(self) -> EngineSettings:
        if self.engine == "openai" and not (self.base_url and self.model):
            raise ValueError("engine openai needs base_url and model")
        return self


def engine_settings(**fields: Any) -> EngineSettings:
    """Settings of an engine that is no service's, such as one that the command line runs.

    Args:
        fields: By name; nothing is read from the environment.

    Raises:
        InvalidArgumentError: A value is out of its bounds; names the field, the bound, and the value but where it is
            a secret.
    """
    try:
        return EngineSettings.model_validate(fields)
    except ValidationError as error:
        raise InvalidArgumentError("; ".join(_problem(dict(each)) for each in error.errors())) from None


def _problem(each: dict[str, Any]) -> str:
    said = each["msg"].removeprefix("Value error, ")
    if not each["loc"]:
        # It is about several fields, and what was given is all of them, the key too.
        return str(said)
    name = ".".join(map(str, each["loc"]))
    # Our own messages name the field; pydantic's say what the "input" should be.
    said = said if said.startswith(name) else f"{name} {said.removeprefix('Input ')}"
    return f"{said}, got {each['input']!r}"
