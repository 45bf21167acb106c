"""A language model behind any server that speaks OpenAI's chat protocol: vllm serve, SGLang, Ollama, llama.cpp.

Servers differ in what they take beyond the protocol, so :meth:`OpenAiModel.start` asks each for one token with every
extension, and where that is refused (400 or 422) finds out which ones it takes:

- `stream_options`: usage at the end of the stream. Without it, completion tokens are counted as deltas, which is exact
  where a server sends one token a delta, and prompt tokens by :meth:`OpenAiModel.count_tokens`, which is an estimate.
- `chat_template_kwargs`: enable_thinking False (vLLM, SGLang, llama.cpp). Text that a server keeps apart as reasoning
  is never part of the answer.
- a constraint to the labels of a choice: vLLM knows `structured_outputs`, SGLang `regex`, llama.cpp `grammar`; each
  ignores the others' fields. A vLLM server also tokenises, so one-token labels go there as `allowed_token_ids`, with
  `logprob_token_ids`, which gives every label's probability however unlikely it is.
- `logprobs`: of the 20 likeliest first tokens, which is as many as the protocol has.

A choice outside its labels is never passed on. Nothing is tried again here: the caller's deadline decides that.

Source: docs.vllm.ai "OpenAI-Compatible Server"; vllm/entrypoints/openai/chat_completion/protocol.py of 0.26 and 0.32.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from argo.errors import (
    ArgoError,
    InvalidArgumentError,
    NotReadyError,
    ResourceExhaustedError,
    UnavailableError,
)
from argo.v1 import types_pb2
from services.engine.chat_stream import ChatStream, StreamFormatError
from services.engine.label import parse_label, renormalise
from services.engine.port import Generated, GenerationRequest, GenerationTiming
from services.engine.settings import EngineSettings

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream

__all__ = ["OpenAiModel"]

_CONNECT_TIMEOUT_S: Final = 5.0
_START_TIMEOUT_S: Final = 120.0  # a server such as Ollama loads the model at its first request
_LISTED_MODELS: Final = 20
_TOP_LOGPROBS: Final = 20
_UNCONSTRAINED_TOKENS: Final = 16  # room for "The correct answer is B" where nothing holds the model to its labels
_PARTS: Final = frozenset({"usage", "thinking", "constraint", "logprobs"})
_TOO_LONG: Final = re.compile(
    r"context[ _](?:length|window|size)|max_model_len|too (?:long|many tokens)|exceeds? .*token", re.I
)
# Digits and marks are a token each in the tokenizers of today's models; a word is one for every three letters or fewer.
_PIECES: Final = re.compile(r"[A-Za-z]{1,3}|[^A-Za-z\s]|\n")


class OpenAiModel:
    """Calls a server over HTTP; one connection pool a process.

    Args:
        settings: base_url, model and api_key are used; the rest is the server's own affair.
    """

    name = "openai"
    special_tokens: tuple[str, ...] = ()  # the server's tokenizer is out of sight; prompts escape the known ones

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._client: AsyncOpenAI | None = None
        self._parts: frozenset[str] = frozenset()
        self._is_vllm = False
        self._max_model_len = 0
        self._token_ids: dict[str, int | None] = {}
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
        """Find the server, the model there, and which extensions it takes.

        Raises:
            NotReadyError: The library is missing, no server answers, or it has no such model.
            UnavailableError: The server fails at the first token.
        """
        try:
            import openai
        except ImportError:
            raise NotReadyError("engine openai needs the openai library: install the extra [openai]") from None
        key = self._settings.api_key
        self._client = openai.AsyncOpenAI(
            base_url=self._settings.base_url,
            # The library wants one, and would take OPENAI_API_KEY, which is another server's.
            api_key=key.get_secret_value() if key else "none",
            max_retries=0,
            timeout=openai.Timeout(None, connect=_CONNECT_TIMEOUT_S),
        )
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await self._find_model(self._client)
                self._parts = await self._probe()
        except TimeoutError:
            raise NotReadyError(f"base_url: the server did not answer within {_START_TIMEOUT_S:g} s") from None

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
                stream = await self._open(await self._body(request, self._parts))
            async with aclosing(chat.deltas(stream)) as deltas:
                async for delta in deltas:
                    if not request.choices:
                        yield delta
        except TimeoutError:
            chat.finish_reason = "time"
        except Exception as error:
            raise self._domain_error(error, request) from None
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
        """An estimate: no tokenizer is at hand. Made to come out above the count for English technical prose."""
        return sum(1 if piece.isascii() else len(piece.encode()) for piece in _PIECES.findall(text))

    async def alive(self) -> None:
        """Return: nothing of this engine runs here, and a server that is gone may come back. The canary finds that."""

    def describe(self) -> types_pb2.EngineInfo:
        """What GetInfo says; what the server does not tell stays unset."""
        return types_pb2.EngineInfo(
            name=self.name,
            language_model=True,
            model=self.model,
            max_model_len=self._max_model_len,
            unfinished=self._unfinished,
        )

    async def close(self) -> None:
        """Close every connection, which aborts what still runs on the server."""
        if self._client is not None:
            await self._client.close()

    async def _find_model(self, client: AsyncOpenAI) -> None:
        try:
            listed = await client.get("/models", cast_to=object)
        except Exception as error:
            raise self._start_error(error) from None
        cards = listed.get("data") if isinstance(listed, dict) else None
        if not isinstance(cards, list):
            raise NotReadyError("base_url: /models there is no list of models; base_url usually ends in /v1")
        by_name = {str(card["id"]): card for card in cards if isinstance(card, dict) and "id" in card}
        card = by_name.get(self.model)
        if card is None:
            names = ", ".join(sorted(by_name)[:_LISTED_MODELS]) or "none"
            raise NotReadyError(f"model: the server has no {self.model}; it has: {names}")
        self._is_vllm = card.get("owned_by") == "vllm"
        length = card.get("max_model_len")
        self._max_model_len = length if isinstance(length, int) and length > 0 else 0

    async def _probe(self) -> frozenset[str]:
        """Which extensions the server takes."""
        if await self._takes(_PARTS):
            return _PARTS
        if not await self._takes(frozenset()):
            raise NotReadyError("base_url: the server refuses a plain chat completion (status 400 or 422)")
        return frozenset([part for part in sorted(_PARTS) if await self._takes(frozenset({part}))])

    async def _takes(self, parts: frozenset[str]) -> bool:
        from openai import BadRequestError, UnprocessableEntityError

        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": "A or B?"}],
            "max_tokens": 1,
            "temperature": 0.0,
        }
        body |= self._extensions(parts, ("A", "B"))
        try:
            stream = await self._open(body)
            try:
                async for _ in ChatStream(None).deltas(stream):
                    pass
            finally:
                await stream.close()
        except (BadRequestError, UnprocessableEntityError):
            return False
        except Exception as error:
            raise self._start_error(error) from None
        return True

    async def _body(self, request: GenerationRequest, parts: frozenset[str]) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "messages": [{"role": one.role, "content": one.content} for one in request.messages],
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **self._extensions(parts, request.choices),
        }
        # What says nothing is left out, since some servers refuse fields that others of the three take.
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if request.choices:
            return body | await self._hold_to_labels(request, parts)
        optional = {
            "stop": list(sampling.stop),
            "min_tokens": sampling.min_tokens,
            "ignore_eos": sampling.ignore_eos,
        }
        return body | {field: value for field, value in optional.items() if value}

    async def _hold_to_labels(self, request: GenerationRequest, parts: frozenset[str]) -> dict[str, Any]:
        """What a choice says otherwise than free text: a label has its own length, and ends by itself."""
        token_ids = await self._label_ids(request.choices) if self._is_vllm and "constraint" in parts else None
        if token_ids is None:
            return {"max_tokens": max(request.sampling.max_tokens, _UNCONSTRAINED_TOKENS)}
        held: dict[str, Any] = {"max_tokens": 1, "allowed_token_ids": token_ids, "structured_outputs": None}
        return held | ({"logprob_token_ids": token_ids} if "logprobs" in parts else {})

    def _extensions(self, parts: frozenset[str], choices: tuple[str, ...]) -> dict[str, Any]:
        body: dict[str, Any] = {}
        if "usage" in parts:
            body["stream_options"] = {"include_usage": True}
        if "thinking" in parts:
            body["chat_template_kwargs"] = {"enable_thinking": False}
        if choices and "constraint" in parts:
            body["structured_outputs"] = {"choice": list(choices)}
            if not self._is_vllm:
                body["regex"] = "(" + "|".join(re.escape(label) for label in choices) + ")"
                body["grammar"] = "root ::= " + " | ".join(_gbnf(label) for label in choices)
        if choices and "logprobs" in parts:
            body |= {"logprobs": True, "top_logprobs": _TOP_LOGPROBS}
        return body

    async def _label_ids(self, labels: tuple[str, ...]) -> list[int] | None:
        """The token of each label, where each is one token and no two share it."""
        for label in labels:
            if label not in self._token_ids:
                self._token_ids[label] = await self._label_id(label)
        ids = [found for label in labels if (found := self._token_ids[label]) is not None]
        return ids if len(set(ids)) == len(labels) else None

    async def _label_id(self, label: str) -> int | None:
        from openai import APIStatusError

        client = self._started()
        url = client.base_url.copy_with(path=client.base_url.path.rstrip("/").removesuffix("/v1") + "/tokenize")
        body = {"model": self.model, "prompt": label, "add_special_tokens": False}
        try:
            reply = await client.post(str(url), body=body, cast_to=object)
        except APIStatusError:
            return None  # a gateway that passes on only the protocol's own paths
        tokens = reply.get("tokens") if isinstance(reply, dict) else None
        return tokens[0] if isinstance(tokens, list) and len(tokens) == 1 and isinstance(tokens[0], int) else None

    async def _open(self, body: Mapping[str, Any]) -> AsyncStream[object]:
        from openai import AsyncStream

        # Raw chunks: the library's own models are built without validation, so their fields may be anything.
        return await self._started().post(
            "/chat/completions",
            body={"model": self.model, "stream": True, **body},
            cast_to=object,
            stream=True,
            stream_cls=AsyncStream[object],
        )

    def _started(self) -> AsyncOpenAI:
        if self._client is None:
            raise NotReadyError("engine openai was not started")
        return self._client

    def _generated(self, request: GenerationRequest, chat: ChatStream) -> Generated:
        text = chat.text
        probabilities: tuple[float, ...] = ()
        if request.choices:
            text, probabilities = _choose(chat, request.choices)
        prompt = "\n".join(one.content for one in request.messages)
        return Generated(
            text=text,
            finish_reason=chat.finish_reason or "stop",
            prompt_tokens=self.count_tokens(prompt) if chat.prompt_tokens is None else chat.prompt_tokens,
            completion_tokens=chat.n_deltas if chat.completion_tokens is None else chat.completion_tokens,
            cached_tokens=chat.cached_tokens,
            timing=GenerationTiming(prefill_s=chat.ttft_s, decode_s=chat.decode_s),
            probabilities=probabilities,
        )

    def _start_error(self, error: Exception) -> Exception:
        from openai import APIConnectionError

        if isinstance(error, APIConnectionError):
            return NotReadyError("base_url: no server answers there; start it, or correct base_url")
        return self._domain_error(error, None)

    def _domain_error(self, error: Exception, request: GenerationRequest | None) -> Exception:
        """The domain error of what the library or the stream raised, without a word of the server's."""
        from openai import APIError, APIStatusError

        if isinstance(error, ArgoError):
            return error
        if isinstance(error, APIStatusError):
            return self._status_error(error.status_code, str(error.body), request)
        if isinstance(error, StreamFormatError):
            return UnavailableError(f"the model's server {error}")
        if isinstance(error, APIError):
            return UnavailableError("the model's server could not be reached, or broke off its answer")
        # The library parses JSON and text with the standard library, and lets its errors through.
        if isinstance(error, ValueError):
            return UnavailableError("the model's server sent what is no chat completion")
        return error

    def _status_error(self, status: int, body: str, request: GenerationRequest | None) -> ArgoError:
        if status in (401, 403):
            prefix = str(type(self._settings).model_config.get("env_prefix") or "ARGO_<SERVICE>_")
            return NotReadyError(f"the model's server refuses the key (status {status}); set {prefix}API_KEY")
        if status == 404:
            return NotReadyError(f"the model's server has no model {self.model} (status 404)")
        if status == 429:
            return ResourceExhaustedError("the model's server takes no more for now (status 429)")
        if status in (400, 413, 422) and request is not None and _TOO_LONG.search(body):
            room = request.sampling.max_tokens
            if self._max_model_len:
                least = max(self._max_model_len - room + 1, 1)
                return InvalidArgumentError(
                    f"prompt and answer must be at most {self._max_model_len} tokens together, "
                    f"got at least {least} and {room}"
                )
            about = self.count_tokens("\n".join(one.content for one in request.messages))
            return InvalidArgumentError(
                f"prompt is too long for the model, got about {about} tokens and {room} to answer"
            )
        return UnavailableError(f"the model's server failed (status {status})")


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


def _gbnf(label: str) -> str:
    """A literal of llama.cpp's grammar format."""
    return '"' + label.replace("\\", "\\\\").replace('"', '\\"') + '"'
