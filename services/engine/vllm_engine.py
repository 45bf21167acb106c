"""vLLM in this process: AsyncLLM behind the port.

What the code rests on was read in vLLM 0.26 and 0.32; where the two differ, what is there is asked, not the version.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import itertools
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from argo.errors import InvalidArgumentError, NotReadyError, UnavailableError
from argo.v1 import types_pb2
from services.engine.encoder import ConversationEncoder
from services.engine.gpu import check_gpus, gpu_facts, visible_devices
from services.engine.leash import Leash
from services.engine.option import installed_version
from services.engine.port import (
    NO_LIMIT_S,
    EngineDeadError,
    EngineOptionError,
    Generated,
    GenerationRequest,
    Message,
    Sampling,
)
from services.engine.profile import check_options
from services.engine.settings import EngineSettings
from services.engine.vllm_info import fill
from services.engine.vllm_output import Progress, label_probabilities, until

__all__ = ["VllmModel"]

_LOG = logging.getLogger(__name__)

_FIXED: Final[Mapping[str, Any]] = {
    # A request's queue, prefill and decode times come with the statistics.
    "disable_log_stats": False,
    "enable_log_requests": False,
}
_OURS: Final = ("model", "device_ids", "tensor_parallel_size", "gpu_memory_utilization")
"""Options that settings of their own stand for."""
_ENVIRONMENT: Final[Mapping[str, str]] = {
    # By default the core is forked off this process on GPUs, with gRPC's listening sockets, its threads' locks and the
    # event loop's signal pipe. `vllm serve` does not do that either.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    # Reports the machine and the model to vLLM's makers.
    "VLLM_NO_USAGE_STATS": "1",
    # By default its log goes to standard output, which belongs to what a command was asked for.
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
}
"""What vLLM is told through its environment, unless the operator tells it otherwise."""
_PRIORITY_PER_S: Final = 1000
"""Priorities are whole numbers; a millisecond of deadline tells two requests apart."""


class VllmModel:
    """A language model on vLLM's AsyncLLM, whose engine core runs in processes of its own.

    Args:
        settings: Model, GPUs and options.
        options: AsyncEngineArgs options of the profile; those of the settings go on top.
        model: Name or folder, where the settings name none.
    """

    name = "vllm"

    def __init__(self, settings: EngineSettings, options: Mapping[str, Any], model: str) -> None:
        self._settings = settings
        self._options = {**options, **settings.engine_options}
        self._model = settings.model or model
        # vLLM ships no types that hold across its versions.
        self._engine: Any = None
        self._tokenizer: Any = None
        self._special_tokens: tuple[str, ...] = ()
        self._encoder: ConversationEncoder | None = None
        self._leash: Leash | None = None
        self._numbers = itertools.count(1)
        self._unfinished = 0
        self._prompt_tokens = 0
        self._cached_tokens = 0
        self._by_priority = self._options.get("scheduling_policy") == "priority"

    @property
    def model(self) -> str:
        """Name or path of the model."""
        return self._model

    @property
    def unfinished(self) -> int:
        """Generations received and not finished."""
        return self._unfinished

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Texts that the tokenizer reads as control tokens; empty before the start."""
        return self._special_tokens

    async def start(self) -> None:
        """Load the model; see the port."""
        check_gpus(self._settings.gpus, self._settings.gpu_memory_share)
        # Before vLLM's import, which reads some of it.
        self._prepare_environment()
        arguments, async_llm = self._arguments()
        self._leash = Leash()
        try:
            # In the event loop's own thread, since AsyncLLM ties its output handler to the running loop.
            self._engine = async_llm.from_engine_args(arguments)
        except BaseException as error:
            self._leash.release()
            if isinstance(error, ValidationError):
                raise _refused(_first_problem(error)) from error
            if isinstance(error, ValueError | OSError | RuntimeError):
                _LOG.error("vLLM cannot start %s", self._model, exc_info=error)
                raise NotReadyError(f"vLLM cannot start model {self._model!r}: {_first_line(error)}") from error
            raise
        self._tokenizer = self._engine.tokenizer
        added = [str(token) for token in getattr(self._tokenizer, "added_tokens_decoder", {}).values()]
        self._special_tokens = tuple(dict.fromkeys([*self._tokenizer.all_special_tokens, *added]))
        self._encoder = ConversationEncoder(self._tokenizer, self._special_tokens)
        self._check_template()

    def _check_template(self) -> None:
        """Refuse a model whose chat template cannot take what every prompt is made of."""
        try:
            self._encode(GenerationRequest((Message("system", "x"), Message("user", "x")), Sampling(max_tokens=1)))
        # Templates are programs of their own, and raise what they like.
        except Exception as error:
            raise NotReadyError(
                f"model {self._model!r} must have a chat template that takes a system and a user message: "
                f"{_first_line(error)}"
            ) from error

    def _prepare_environment(self) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if Path(self._model).is_dir():
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        if self._settings.gpus:
            # This process never touches a GPU; those that it starts do, and read this first.
            os.environ |= visible_devices(self._settings.gpus, _given_devices())

    def _arguments(self) -> tuple[Any, Any]:
        """Checked AsyncEngineArgs, and the class of the engine."""
        settings = self._settings
        try:
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise NotReadyError(
                f"engine vllm needs the package vllm, which cannot be imported here: {_first_line(error)}"
            ) from error
        if Path(self._model).is_absolute() and not Path(self._model).exists():
            raise NotReadyError(f"model must be a folder or a name on the hub, and there is no {self._model}")
        options = {**self._options, **_FIXED, "model": self._model}
        taken = sorted(settings.engine_options.keys() & {*_OURS, *_FIXED})
        if taken:
            raise EngineOptionError(f"engine_options must not hold {', '.join(taken)}: ARGO sets these itself")
        if settings.gpus:
            options["tensor_parallel_size"] = len(settings.gpus)
        if settings.gpu_memory_share is not None:
            options["gpu_memory_utilization"] = settings.gpu_memory_share
        check_options(
            options, {entry.name for entry in dataclasses.fields(AsyncEngineArgs)}, f"vLLM {installed_version()}"
        )
        try:
            return AsyncEngineArgs(**options), AsyncLLM
        except ValidationError as error:
            raise _refused(_first_problem(error)) from error
        except (ValueError, TypeError) as error:
            raise _refused(_first_line(error)) from error
        except OSError as error:
            # A name is looked up at the hub here already.
            raise NotReadyError(f"vLLM cannot find model {self._model!r}: {_first_line(error)}") from error

    async def generate(self, request: GenerationRequest) -> AsyncIterator[str | Generated]:
        """Yield text deltas, and last the whole; see the port."""
        prompt = self._encode(request)
        sampling, labels = self._sampling(request, len(prompt))
        parts: list[str] = []
        state = Progress(len(prompt))
        self._unfinished += 1
        try:
            outputs = self._outputs(prompt, sampling, request)
            async with contextlib.aclosing(outputs):
                async for output in until(outputs, request.time_limit_s, state):
                    delta = state.take(output)
                    if delta:
                        parts.append(delta)
                        yield delta
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except Exception as error:
            raise self._mapped(error) from error
        finally:
            self._unfinished -= 1
        self._prompt_tokens += len(prompt)
        self._cached_tokens += state.cached_tokens
        yield Generated(
            text="".join(parts),
            finish_reason=state.finish_reason,
            prompt_tokens=len(prompt),
            completion_tokens=state.completion_tokens,
            cached_tokens=state.cached_tokens,
            timing=state.timing(),
            probabilities=label_probabilities(state.logprobs, labels),
        )

    def _outputs(self, prompt: list[int], sampling: Any, request: GenerationRequest) -> AsyncGenerator[Any, None]:
        from vllm.inputs import tokens_input

        priority = 0
        if self._by_priority:
            limit_s = NO_LIMIT_S if request.time_limit_s is None else request.time_limit_s
            priority = int((time.monotonic() + limit_s) * _PRIORITY_PER_S)
        outputs: AsyncGenerator[Any, None] = self._engine.generate(
            # What vLLM's own renderer would make of them; raw prompts are deprecated.
            tokens_input(prompt),
            sampling,
            f"argo-{next(self._numbers)}",
            priority=priority,
        )
        return outputs

    def _encode(self, request: GenerationRequest) -> list[int]:
        """Token ids of the prompt, by the model's own chat template."""
        assert self._encoder is not None, "started"
        return self._encoder.encode(request.messages)

    def _sampling(self, request: GenerationRequest, prompt_tokens: int) -> tuple[Any, list[int]]:
        """VLLM's parameters, and the token of each choice where each is one token."""
        from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

        sampling = request.sampling
        room = int(self._engine.model_config.max_model_len) - prompt_tokens
        if room < 1:
            raise InvalidArgumentError(
                f"the prompt must leave room for an answer in the model's {prompt_tokens + room} tokens, got "
                f"{prompt_tokens} tokens of prompt"
            )
        drawn: dict[str, Any] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "output_kind": RequestOutputKind.DELTA,
        }
        if not request.choices:
            most = min(sampling.max_tokens, room)
            return SamplingParams(
                **drawn,
                max_tokens=most,
                min_tokens=min(sampling.min_tokens, most),
                stop=list(sampling.stop) or None,
                ignore_eos=sampling.ignore_eos,
            ), []
        tokens = [self._tokenizer.encode(choice, add_special_tokens=False) for choice in request.choices]
        if all(len(each) == 1 for each in tokens):
            labels = [each[0] for each in tokens]
            # Log-probabilities come of the whole vocabulary, before the mask; they are renormalised over the labels.
            return SamplingParams(
                **drawn, max_tokens=1, allowed_token_ids=labels, logprob_token_ids=labels, logprobs=len(labels)
            ), labels
        constraint = StructuredOutputsParams(choice=list(request.choices))
        # The grammar ends it, however the model cuts the choice into tokens; none is shorter than a byte.
        most = min(max(len(choice.encode()) for choice in request.choices) + 1, room)
        return SamplingParams(**drawn, max_tokens=most, structured_outputs=constraint), []

    def _mapped(self, error: Exception) -> Exception:
        """An error of vLLM as one of ours; what is ours already passes."""
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

        if isinstance(error, InvalidArgumentError | UnavailableError):
            return error
        if isinstance(error, VllmDeadError) or self._engine is None or self._engine.errored:
            return EngineDeadError("the engine's core is gone")
        if isinstance(error, ValueError):
            _LOG.error("vLLM refused a request", exc_info=error)
            return InvalidArgumentError("the engine refused the request as it was put")
        _LOG.error("a generation failed", exc_info=error)
        return UnavailableError("the generation failed inside the engine")

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, control tokens left out."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    async def alive(self) -> None:
        """Return if the core's process runs; see the port."""
        if self._engine is None or self._engine.errored:
            raise EngineDeadError("the engine's core is gone")

    def describe(self) -> types_pb2.EngineInfo:
        """What GetInfo says of the engine."""
        info = types_pb2.EngineInfo(
            name=self.name,
            language_model=True,
            model=self._model,
            version=installed_version() or "",
            unfinished=self._unfinished,
        )
        if self._engine is None:
            return info
        fill(info, self._engine.vllm_config)
        if self._prompt_tokens:
            info.prefix_hit_rate = self._cached_tokens / self._prompt_tokens
        info.gpus.extend(gpu_facts(self._gpus()))
        return info

    def _gpus(self) -> tuple[int, ...]:
        """Physical GPUs that the engine holds: those it is pinned to, or those that vLLM took by itself."""
        from vllm.platforms import current_platform

        if self._settings.gpus or not current_platform.is_cuda():
            return self._settings.gpus
        taken = range(int(self._engine.vllm_config.parallel_config.world_size))
        return tuple(int(current_platform.device_id_to_physical_device_id(index)) for index in taken)

    async def start_trace(self) -> None:
        """Let vLLM's profiler record, which the option profiler_config has set up."""
        await self._engine.start_profile()

    async def stop_trace(self) -> None:
        """Have the profiler write what it recorded; returns when the files are there."""
        await self._engine.stop_profile()

    async def close(self) -> None:
        """Stop the core's processes."""
        # Both wait for processes to end.
        engine, self._engine = self._engine, None
        if engine is not None:
            await _stop_reading(engine)
            await asyncio.to_thread(engine.shutdown)
        if self._leash is not None:
            await asyncio.to_thread(self._leash.release)


async def _stop_reading(engine: Any) -> None:
    """End the task that reads the core's output, and with an error what still waits for some.

    Left running, it takes the end of the core for its death and logs a traceback at what is an orderly stop.
    """
    from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

    reader = engine.output_handler
    if reader is None:
        return
    reader.cancel()
    await asyncio.wait([reader])
    engine.output_processor.propagate_error(VllmDeadError())


@functools.cache
def _given_devices() -> str | None:
    """CUDA_VISIBLE_DEVICES before the first engine's pinning is written there."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def _refused(problem: str) -> EngineOptionError:
    return EngineOptionError(f"vLLM {installed_version()} refuses the engine options: {problem}")


def _first_problem(error: ValidationError) -> str:
    """What pydantic, which checks vLLM's options, found first."""
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc'])) or error.title}: {problem['msg'].removeprefix('Value error, ')}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
