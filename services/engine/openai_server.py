"""One OpenAI-compatible server: what it is, which extensions of the protocol it takes, and how it is asked.

Servers differ in what they take beyond the protocol, so :meth:`OpenAiServer.start` asks each for one token with every
extension, and where that is refused (400 or 422) finds out which ones it takes:

- `usage`: counts at the end of the stream (`stream_options`).
- `thinking`: `chat_template_kwargs` with enable_thinking False (vLLM, SGLang, llama.cpp).
- `constraint`: to the labels of a choice: vLLM knows `structured_outputs`, SGLang `regex`, llama.cpp `grammar`; each
  ignores the others' fields. A vLLM server also tokenises, so one-token labels go there as `allowed_token_ids`, with
  `logprob_token_ids`, which gives every label's probability however unlikely it is.
- `logprobs`: of the 20 likeliest first tokens, which is as many as the protocol has.

Source: docs.vllm.ai "OpenAI-Compatible Server"; vLLM 0.26 and 0.32, vllm/entrypoints:
openai/chat_completion/protocol.py and serve/tokenize/protocol.py.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from argo.errors import NotReadyError
from services.engine.chat_stream import ChatStream
from services.engine.openai_error import AskedOf, start_error
from services.engine.settings import EngineSettings
from services.engine.token_estimate import SAMPLES, TokenEstimate

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream

__all__ = ["OpenAiServer"]

_CONNECT_TIMEOUT_S: Final = 5.0
_START_TIMEOUT_S: Final = 120.0  # a server such as Ollama loads the model at its first request
_LISTED_MODELS: Final = 20
_TOP_LOGPROBS: Final = 20
_PARTS: Final = frozenset({"usage", "thinking", "constraint", "logprobs"})
_NO_SUCH_PATH: Final = (404, 405, 501)


class OpenAiServer:
    """Calls a server over HTTP; one connection pool a process.

    Args:
        settings: base_url, model and api_key are used.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._client: AsyncOpenAI | None = None
        self._parts: frozenset[str] = frozenset()
        self._is_vllm = False
        self._tokenises = True
        self._token_ids: dict[str, int | None] = {}
        self.max_model_len = 0
        """Most tokens of prompt and answer together; 0 where the server does not say."""
        self.estimate = TokenEstimate()
        """Of a text's tokens; calibrated at the start, where the server tokenises."""

    @property
    def asked(self) -> AskedOf:
        """How messages name this server."""
        prefix = str(type(self._settings).model_config.get("env_prefix") or "ARGO_ENGINE_")
        return AskedOf(self._settings.model, f"{prefix}API_KEY", self.max_model_len)

    async def start(self) -> None:
        """Find the server, the model there, which extensions it takes, and how finely it tokenises.

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
                self.estimate = await self._calibrated()
        except TimeoutError:
            raise NotReadyError(f"base_url: the server did not answer within {_START_TIMEOUT_S:g} s") from None

    async def open(self, body: Mapping[str, Any]) -> AsyncStream[object]:
        """Ask for a chat completion; the caller closes its stream."""
        from openai import AsyncStream

        # Raw chunks: the library's own models are built without validation, so their fields may be anything.
        return await self._started().post(
            "/chat/completions",
            body={"model": self._settings.model, "stream": True, **body},
            cast_to=object,
            stream=True,
            stream_cls=AsyncStream[object],
        )

    def extensions(self, choices: tuple[str, ...]) -> dict[str, Any]:
        """What goes into a request beyond the protocol, as far as this server takes it."""
        return self._fields(self._parts, choices)

    async def label_ids(self, labels: tuple[str, ...]) -> list[int] | None:
        """The token of each label, where the server can be held to tokens, each is one, and no two share it."""
        if not (self._is_vllm and "constraint" in self._parts):
            return None
        ids = [found for label in labels if (found := await self._label_id(label)) is not None]
        return ids if len(set(ids)) == len(labels) else None

    @property
    def gives_logprobs(self) -> bool:
        """Whether it tells log-probabilities."""
        return "logprobs" in self._parts

    async def close(self) -> None:
        """Close every connection, which aborts what still runs on the server."""
        if self._client is not None:
            await self._client.close()

    def _started(self) -> AsyncOpenAI:
        if self._client is None:
            raise NotReadyError("engine openai was not started")
        return self._client

    async def _find_model(self, client: AsyncOpenAI) -> None:
        wanted = self._settings.model
        try:
            listed = await client.get("/models", cast_to=object)
        except Exception as error:
            raise start_error(error, self.asked) from None
        cards = listed.get("data") if isinstance(listed, dict) else None
        if not isinstance(cards, list):
            raise NotReadyError("base_url: /models there is no list of models; base_url usually ends in /v1")
        by_name = {str(card["id"]): card for card in cards if isinstance(card, dict) and "id" in card}
        card = by_name.get(wanted)
        if card is None:
            names = ", ".join(sorted(by_name)[:_LISTED_MODELS]) or "none"
            raise NotReadyError(f"model: the server has no {wanted}; it has: {names}")
        self._is_vllm = card.get("owned_by") == "vllm"
        length = card.get("max_model_len")
        self.max_model_len = length if isinstance(length, int) and length > 0 else 0

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
        body |= self._fields(parts, ("A", "B"))
        try:
            stream = await self.open(body)
            try:
                async for _ in ChatStream(None).deltas(stream):
                    pass
            finally:
                await stream.close()
        except (BadRequestError, UnprocessableEntityError):
            return False
        except Exception as error:
            raise start_error(error, self.asked) from None
        return True

    def _fields(self, parts: frozenset[str], choices: tuple[str, ...]) -> dict[str, Any]:
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

    async def _calibrated(self) -> TokenEstimate:
        counted = [(text, await self._tokens(text)) for text in SAMPLES]
        return TokenEstimate.calibrated((text, len(tokens)) for text, tokens in counted if tokens)

    async def _label_id(self, label: str) -> int | None:
        if label not in self._token_ids:
            tokens = await self._tokens(label)
            if tokens is None and self._tokenises:
                # It may tell the next time.
                return None
            self._token_ids[label] = tokens[0] if tokens is not None and len(tokens) == 1 else None
        return self._token_ids[label]

    async def _tokens(self, text: str) -> list[int] | None:
        """The tokens of a text; None where the server does not tell."""
        from openai import APIError, APIStatusError

        if not self._tokenises:
            return None
        client = self._started()
        url = client.base_url.copy_with(path=client.base_url.path.rstrip("/").removesuffix("/v1") + "/tokenize")
        body = {"model": self._settings.model, "prompt": text, "add_special_tokens": False}
        try:
            reply = await client.post(str(url), body=body, cast_to=object)
        except APIStatusError as error:
            # A gateway that passes on only the protocol's own paths, or a server that has no other.
            self._tokenises = error.status_code not in _NO_SUCH_PATH
            return None
        except (APIError, ValueError):
            return None
        tokens = reply.get("tokens") if isinstance(reply, dict) else None
        whole = isinstance(tokens, list) and all(isinstance(token, int) for token in tokens)
        return tokens if whole else None


def _gbnf(label: str) -> str:
    """A literal of llama.cpp's grammar format."""
    return '"' + label.replace("\\", "\\\\").replace('"', '\\"') + '"'
