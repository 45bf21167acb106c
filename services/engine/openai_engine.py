"""A language model behind any server that speaks OpenAI's chat protocol: vllm serve, SGLang, Ollama, llama.cpp.

What a server tells and what it does not, :mod:`services.engine.openai_server` finds out. Where it counts no usage,
completion tokens are counted as deltas, which is exact where a server sends one token a delta, and prompt tokens are
estimated. Text that a server keeps apart as reasoning is never part of the answer. A choice outside its labels is never
passed on. Nothing is tried again here: the caller's deadline decides that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from argo.errors import UnavailableError
from argo.v1 import types_pb2
from services.engine.chat_stream import ChatStream
from services.engine.label import parse_label, renormalise
from services.engine.openai_error import Prompt, domain_error
from services.engine.openai_server import OpenAiServer
from services.engine.port import Generated, GenerationRequest, GenerationTiming
from services.engine.settings import EngineSettings

if TYPE_CHECKING:
    from openai import AsyncStream

__all__ = ["OpenAiModel"]

_UNCONSTRAINED_TOKENS: Final = 16  # room for "The correct answer is B" where nothing holds the model to its labels


class OpenAiModel:
    """A model at a server.

    Args:
        settings: base_url, model and api_key are used; the rest is the server's own affair.
    """

    name = "openai"
    special_tokens: tuple[str, ...] = ()  # the server's tokenizer is out of sight; prompts escape the known ones

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._server = OpenAiServer(settings)
        self._unfinished = 0

    @property
    def model(self) -> str:
        """Name of the model, as the server lists it."""
        return self._settings.model

    @property
    def unfinished(self) -> int:
        """Generations asked for and not finished."""
        return self._unfinished

    async def start(self) -> None:
        """Find the server, the model there, and which extensions it takes; see :meth:`OpenAiServer.start`."""
        await self._server.start()

    async def generate(self, request: GenerationRequest) -> AsyncIterator[str | Generated]:
        """Yield text deltas as they come, and last the whole; see the port.

        A time limit that passes before the first token gives an empty text, or UnavailableError for a choice.

        Raises:
            InvalidArgumentError: The prompt is too long for the model.
            NotReadyError: The server refuses the key, or no longer has the model.
            ResourceExhaustedError: The server takes no more for now.
            UnavailableError: The server failed, went away, or answered a choice with none of its labels.
        """
        self._unfinished += 1
        chat = ChatStream(request.time_limit_s)
        stream: AsyncStream[object] | None = None
        try:
            async with asyncio.timeout_at(chat.deadline):
                stream = await self._server.open(await self._body(request))
            async with aclosing(chat.deltas(stream)) as deltas:
                async for delta in deltas:
                    if not request.choices:
                        yield delta
        except TimeoutError:
            chat.finish_reason = "time"
        except Exception as error:
            raise domain_error(error, self._server.asked, self._lengths(request)) from None
        finally:
            self._unfinished -= 1
            if stream is not None:
                # Closing the connection is what tells the server to abort.
                await stream.close()
        generated = self._generated(request, chat)
        if request.choices:
            yield generated.text
        yield generated

    def count_tokens(self, text: str) -> int:
        """An estimate, which errs on the side of too many; see :class:`TokenEstimate`.

        A question's evidence is fitted by many counts, and none may wait for the network, so that a server which
        tokenises is asked at the start alone, for what the estimate rests on.
        """
        return self._server.estimate.count(text)

    async def alive(self) -> None:
        """Return: nothing of this engine runs here, and a server that is gone may come back. The canary finds that."""

    def describe(self) -> types_pb2.EngineInfo:
        """What GetInfo says; what the server does not tell stays unset."""
        return types_pb2.EngineInfo(
            name=self.name,
            language_model=True,
            model=self.model,
            max_model_len=self._server.max_model_len,
            unfinished=self._unfinished,
        )

    async def close(self) -> None:
        """Close every connection, which aborts what still runs on the server."""
        await self._server.close()

    async def _body(self, request: GenerationRequest) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "messages": [{"role": one.role, "content": one.content} for one in request.messages],
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **self._server.extensions(request.choices),
        }
        # What says nothing is left out, since some servers refuse fields that others of the three take.
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if request.choices:
            return body | await self._hold_to_labels(request)
        optional = {
            "stop": list(sampling.stop),
            "min_tokens": sampling.min_tokens,
            "ignore_eos": sampling.ignore_eos,
        }
        return body | {field: value for field, value in optional.items() if value}

    async def _hold_to_labels(self, request: GenerationRequest) -> dict[str, Any]:
        """What a choice says otherwise than free text: a label has its own length, and ends by itself."""
        token_ids = await self._server.label_ids(request.choices)
        if token_ids is None:
            return {"max_tokens": max(request.sampling.max_tokens, _UNCONSTRAINED_TOKENS)}
        held: dict[str, Any] = {"max_tokens": 1, "allowed_token_ids": token_ids, "structured_outputs": None}
        return held | ({"logprob_token_ids": token_ids} if self._server.gives_logprobs else {})

    def _generated(self, request: GenerationRequest, chat: ChatStream) -> Generated:
        text = chat.text
        probabilities: tuple[float, ...] = ()
        if request.choices:
            text, probabilities = _choose(chat, request.choices)
        return Generated(
            text=text,
            finish_reason=chat.finish_reason or "stop",
            prompt_tokens=self._lengths(request).about if chat.prompt_tokens is None else chat.prompt_tokens,
            completion_tokens=chat.n_deltas if chat.completion_tokens is None else chat.completion_tokens,
            cached_tokens=chat.cached_tokens,
            timing=GenerationTiming(prefill_s=chat.ttft_s, decode_s=chat.decode_s),
            probabilities=probabilities,
        )

    def _lengths(self, request: GenerationRequest) -> Prompt:
        text = "\n".join(one.content for one in request.messages)
        return Prompt(self.count_tokens(text), request.sampling.max_tokens)


def _choose(chat: ChatStream, labels: tuple[str, ...]) -> tuple[str, tuple[float, ...]]:
    """The label, and the probability of each where the first token was one of them.

    Raises:
        UnavailableError: Time ran out, or neither the text nor the first token's likeliest alternatives name a label.
    """
    if chat.finish_reason == "time":
        raise UnavailableError("the model's server made no choice within the time limit")
    probabilities = renormalise(chat.first_logprobs, labels)
    label = parse_label(chat.text, labels)
    if label is not None and chat.text.strip().startswith(label):
        return label, probabilities
    if label is not None:
        return label, ()
    if probabilities:
        return labels[probabilities.index(max(probabilities))], probabilities
    raise UnavailableError(f"the model's server answered a choice with none of its {len(labels)} labels")
