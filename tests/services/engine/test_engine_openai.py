"""Against a real HTTP server whose behaviour each test scripts."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import pytest
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from argo.errors import ArgoError, InvalidArgumentError, NotReadyError, ResourceExhaustedError, UnavailableError
from services.engine.label import parse_label, renormalise
from services.engine.openai_engine import OpenAiModel
from services.engine.port import Generated, GenerationRequest, Message, Sampling
from services.engine.settings import EngineSettings

_SECRET = "sk-not-to-be-shown"
_SERVER_TEXT = "words of the server"
_EXTENSIONS = {"stream_options", "chat_template_kwargs", "structured_outputs", "regex", "grammar", "logprobs"}


class _Settings(EngineSettings):
    model_config = SettingsConfigDict(env_prefix="ARGO_SYNTHESIZER_", frozen=True, extra="forbid")


class _Line:
    """One connection's answer."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def reply(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        head = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        self._writer.write("\r\n".join(lines).encode() + data)
        await self._writer.drain()

    async def begin(self) -> None:
        self._writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await self._writer.drain()

    async def event(self, data: object) -> None:
        text = f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()
        self._writer.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
        await self._writer.drain()

    async def text(self, content: str, finish: str | None = None, logprobs: object = None) -> None:
        choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish, "logprobs": logprobs}
        await self.event({"choices": [choice]})

    async def end(self, usage: object = None) -> None:
        if usage is not None:
            await self.event({"choices": [], "usage": usage})
        await self.event("[DONE]")
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()


_Chat = Callable[[_Line, dict[str, Any]], Awaitable[None]]


class _Server:
    """Speaks enough HTTP/1.1 for one client; `chat` answers after the start's probe."""

    def __init__(self) -> None:
        self.models: object = {"data": [{"id": "tiny", "owned_by": "someone"}]}
        self.models_status = 200
        self.chat: _Chat = _hello
        self.probe: _Chat = _hello
        self.tokens: dict[str, list[int]] = {}
        self.tokens_of: Callable[[str], list[int]] | None = None
        self.tokenize_status = 404
        self.tokenized: list[str] = []
        self.started = False
        self.bodies: list[dict[str, Any]] = []
        self.hung_up = asyncio.Event()
        self.base_url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path = head.split(" ", 2)[1]
                length = next((int(x[15:]) for x in head.lower().split("\r\n") if x.startswith("content-length:")), 0)
                body = json.loads(await reader.readexactly(length)) if length else {}
                await self._answer(_Line(writer), path, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.hung_up.set()
        finally:
            writer.close()

    async def _answer(self, line: _Line, path: str, body: dict[str, Any]) -> None:
        if path == "/v1/models":
            await line.reply(self.models_status, self.models)
        elif path == "/tokenize":
            self.tokenized.append(body["prompt"])
            tokens = self.tokens.get(body["prompt"]) or (self.tokens_of and self.tokens_of(body["prompt"]))
            await line.reply(200 if tokens else self.tokenize_status, {"tokens": tokens})
        elif not self.started:
            await self.probe(line, body)
        else:
            self.bodies.append(body)
            await self.chat(line, body)


async def _hello(line: _Line, body: dict[str, Any]) -> None:
    await line.begin()
    await line.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
    await line.text("Hel")
    await line.text("lo", finish="stop")
    await line.end({"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}})


@pytest.fixture
async def server() -> AsyncIterator[_Server]:
    made = _Server()
    lines: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        lines.add(task)
        try:
            await made.serve(reader, writer)
        finally:
            lines.discard(task)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    made.base_url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    yield made
    for line in list(lines):
        line.cancel()
    await asyncio.gather(*lines, return_exceptions=True)
    listening.close()
    await listening.wait_closed()


Started = Callable[[], Awaitable[OpenAiModel]]


@pytest.fixture
async def started(server: _Server) -> AsyncIterator[Started]:
    models: list[OpenAiModel] = []

    async def start() -> OpenAiModel:
        settings = _Settings(engine="openai", model="tiny", base_url=server.base_url, api_key=SecretStr(_SECRET))
        models.append(OpenAiModel(settings))
        await models[-1].start()
        server.started = True
        return models[-1]

    yield start
    for model in models:
        await model.close()


def _request(text: str = "Hi", **fields: Any) -> GenerationRequest:
    return GenerationRequest([Message("system", "Be brief."), Message("user", text)], Sampling(max_tokens=8), **fields)


async def _parts(model: OpenAiModel, request: GenerationRequest) -> tuple[list[str], Generated]:
    parts = [part async for part in model.generate(request)]
    last = parts.pop()
    assert isinstance(last, Generated)
    deltas = [part for part in parts if isinstance(part, str)]
    assert len(deltas) == len(parts)
    assert "".join(deltas) == last.text
    assert model.unfinished == 0
    return deltas, last


async def _failure(model: OpenAiModel, request: GenerationRequest) -> ArgoError:
    with pytest.raises(ArgoError) as caught:
        await _parts(model, request)
    assert model.unfinished == 0
    error = caught.value
    assert _SERVER_TEXT not in f"{error}{error.__cause__}"
    assert _SECRET not in f"{error}{error.__cause__}"
    return error


def _status(status: int, headers: Mapping[str, str] | None = None, **error: Any) -> _Chat:
    async def chat(line: _Line, body: dict[str, Any]) -> None:
        await line.reply(status, {"error": {"message": _SERVER_TEXT, **error}}, headers)

    return chat


async def test_deltas_come_as_sent_with_the_servers_counts(server: _Server, started: Started) -> None:
    deltas, whole = await _parts(await started(), _request())
    assert deltas == ["Hel", "lo"]
    assert (whole.finish_reason, whole.prompt_tokens, whole.completion_tokens) == ("stop", 7, 2)
    assert whole.cached_tokens == 4
    assert whole.timing.queue_s == 0.0
    assert whole.timing.prefill_s > 0


async def test_the_prompt_goes_out_as_it_is_with_thinking_off(server: _Server, started: Started) -> None:
    await _parts(await started(), _request("Why?"))
    (body,) = server.bodies
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
    ]
    assert (body["model"], body["stream"], body["max_tokens"], body["temperature"]) == ("tiny", True, 8, 0.0)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert {"seed", "stop", "min_tokens", "ignore_eos"}.isdisjoint(body)


async def test_all_of_sampling_goes_out(server: _Server, started: Started) -> None:
    sampling = Sampling(9, min_tokens=3, temperature=0.5, top_p=0.2, seed=11, stop=("\n",), ignore_eos=True)
    await _parts(await started(), GenerationRequest([Message("user", "x")], sampling))
    wanted = {
        "max_tokens": 9,
        "min_tokens": 3,
        "temperature": 0.5,
        "top_p": 0.2,
        "seed": 11,
        "stop": ["\n"],
        "ignore_eos": True,
    }
    assert wanted.items() <= server.bodies[0].items()


async def test_without_usage_deltas_are_counted_and_the_prompt_estimated(server: _Server, started: Started) -> None:
    async def chat(line: _Line, body: dict[str, Any]) -> None:
        await line.begin()
        for word in ("a", " b", " c"):
            await line.text(word)
        await line.text("", finish="length")
        await line.end()

    server.chat = chat
    model = await started()
    _, whole = await _parts(model, _request())
    assert (whole.completion_tokens, whole.finish_reason) == (3, "length")
    assert whole.prompt_tokens == model.count_tokens("Be brief.\nHi") > 3


async def test_reasoning_kept_apart_is_no_part_of_the_answer(server: _Server, started: Started) -> None:
    async def chat(line: _Line, body: dict[str, Any]) -> None:
        await line.begin()
        await line.event({"choices": [{"delta": {"reasoning_content": "hmm", "reasoning": "hmm"}}]})
        await line.text("yes", finish="stop")
        await line.end()

    server.chat = chat
    assert (await _parts(await started(), _request()))[0] == ["yes"]


async def test_a_server_that_refuses_unknown_fields_still_works(server: _Server, started: Started) -> None:
    async def strict(line: _Line, body: dict[str, Any]) -> None:
        if (_EXTENSIONS - {"stream_options"}) & set(body):
            await line.reply(400, {"error": {"message": _SERVER_TEXT}})
        else:
            await _hello(line, body)

    server.probe = server.chat = strict
    _, whole = await _parts(await started(), _request())
    assert whole.text == "Hello"
    assert set(server.bodies[0]) & _EXTENSIONS == {"stream_options"}


async def test_a_server_without_any_extension_still_works(server: _Server, started: Started) -> None:
    async def strict(line: _Line, body: dict[str, Any]) -> None:
        if _EXTENSIONS & set(body):
            await line.reply(422, {"detail": _SERVER_TEXT})
        else:
            await line.begin()
            await line.text("B", finish="stop")
            await line.end()

    server.probe = server.chat = strict
    _, whole = await _parts(await started(), _request(choices=("A", "B")))
    assert (whole.text, whole.probabilities) == ("B", ())


def _says(text: str, *logprobs: tuple[str, float]) -> _Chat:
    async def chat(line: _Line, body: dict[str, Any]) -> None:
        await line.begin()
        listed = [{"token": token, "logprob": value} for token, value in logprobs]
        content = [{"token": text[:1], "logprob": -0.1, "top_logprobs": listed}]
        await line.text(text, finish="stop", logprobs={"content": content} if logprobs else None)
        await line.end()

    return chat


async def test_a_choice_is_one_delta_with_probabilities_of_the_labels_alone(server: _Server, started: Started) -> None:
    server.chat = _says("B", ("B", math.log(0.4)), ("The", math.log(0.3)), ("A", math.log(0.1)), (" A", math.log(0.1)))
    deltas, whole = await _parts(await started(), _request(choices=("A", "B", "C")))
    assert deltas == ["B"]
    assert whole.probabilities == pytest.approx((1 / 3, 2 / 3, 0.0))
    body = server.bodies[0]
    assert body["structured_outputs"] == {"choice": ["A", "B", "C"]}
    assert (body["regex"], body["grammar"]) == ("(A|B|C)", 'root ::= "A" | "B" | "C"')


async def test_vllm_is_held_to_the_labels_tokens(server: _Server, started: Started) -> None:
    server.models = {"data": [{"id": "tiny", "owned_by": "vllm", "max_model_len": 512}]}
    server.tokens = {"A": [32], "B": [33]}
    server.tokenize_status = 500  # of the samples: what fails once is asked again
    server.chat = _says("A", ("A", -0.5), ("B", -0.5))
    model = await started()
    _, whole = await _parts(model, _request(choices=("A", "B")))
    body = server.bodies[0]
    assert (body["allowed_token_ids"], body["logprob_token_ids"], body["max_tokens"]) == ([32, 33], [32, 33], 1)
    assert body["structured_outputs"] is None
    assert whole.probabilities == pytest.approx((0.5, 0.5))
    assert model.describe().max_model_len == 512


async def test_a_choice_is_not_held_to_the_lengths_of_free_text(server: _Server, started: Started) -> None:
    server.chat = _says("A")
    sampling = Sampling(max_tokens=50, min_tokens=50, stop=("A",), ignore_eos=True)
    await _parts(await started(), GenerationRequest([Message("user", "x")], sampling, choices=("A", "B")))
    assert {"min_tokens", "stop", "ignore_eos"}.isdisjoint(server.bodies[0])


async def test_labels_of_several_tokens_are_held_by_structured_outputs(server: _Server, started: Started) -> None:
    server.models = {"data": [{"id": "tiny", "owned_by": "vllm"}]}
    server.tokens = {"yes": [1], "not at all": [2, 3]}
    server.tokenize_status = 500
    server.chat = _says("not at all")
    _, whole = await _parts(await started(), _request(choices=("yes", "not at all")))
    assert whole.text == "not at all"
    assert server.bodies[0]["structured_outputs"] == {"choice": ["yes", "not at all"]}
    assert "allowed_token_ids" not in server.bodies[0]


@pytest.mark.parametrize("text", ["The correct answer is B.", "(B) since ...", "b", "**B**", "Answer: B\nBecause"])
async def test_a_server_that_ignores_constraints_is_parsed(server: _Server, started: Started, text: str) -> None:
    server.chat = _says(text)
    _, whole = await _parts(await started(), _request(choices=("A", "B")))
    assert (whole.text, whole.probabilities) == ("B", ())


async def test_probabilities_of_a_first_token_that_is_no_label_are_not_given(server: _Server, started: Started) -> None:
    server.chat = _says("Answer: B", ("Answer", -0.1), ("A", -2.0), ("B", -3.0))
    _, whole = await _parts(await started(), _request(choices=("A", "B")))
    assert (whole.text, whole.probabilities) == ("B", ())


async def test_text_without_a_label_falls_back_on_the_first_tokens_likeliest(server: _Server, started: Started) -> None:
    server.chat = _says("Well, who knows", ("Well", -0.1), ("A", math.log(0.01)), ("B", math.log(0.03)))
    _, whole = await _parts(await started(), _request(choices=("A", "B")))
    assert whole.text == "B"
    assert whole.probabilities == pytest.approx((0.25, 0.75))


@pytest.mark.parametrize("text", ["A good answer names E2", "C", "A or B", "", "Both A) and B)"])
async def test_a_choice_outside_its_labels_is_an_error(server: _Server, started: Started, text: str) -> None:
    server.chat = _says(text)
    error = await _failure(await started(), _request(choices=("A", "B")))
    assert isinstance(error, UnavailableError)


async def test_a_stream_that_breaks_is_unavailable(server: _Server, started: Started) -> None:
    async def chat(line: _Line, body: dict[str, Any]) -> None:
        await line.begin()
        await line.text("Half of")
        raise ConnectionError

    server.chat = chat
    assert type(await _failure(await started(), _request())) is UnavailableError


async def test_a_stream_that_ends_without_saying_why_is_unavailable(server: _Server, started: Started) -> None:
    async def chat(line: _Line, body: dict[str, Any]) -> None:
        await line.begin()
        await line.text("Half of")
        await line.end()

    server.chat = chat
    error = await _failure(await started(), _request())
    assert "broke off" in str(error)


@pytest.mark.parametrize(
    "garbage",
    [
        "{not json",
        "[1, 2]",
        '"text"',
        '{"choices": 5}',
        '{"choices": [7]}',
        '{"choices": [{"delta": "x"}]}',
        '{"error": {"message": "words of the server"}}',
    ],
)
async def test_garbage_is_unavailable(server: _Server, started: Started, garbage: str) -> None:
    async def chat(line: _Line, body: dict[str, Any]) -> None:
        await line.begin()
        await line.event(garbage)
        await line.end()

    server.chat = chat
    assert type(await _failure(await started(), _request())) is UnavailableError


async def test_bytes_that_are_no_text_are_unavailable(server: _Server, started: Started) -> None:
    async def chat(line: _Line, body: dict[str, Any]) -> None:
        await line.begin()
        line._writer.write(b"a\r\ndata: \xff\xfe\n\n\r\n")
        await line.end()

    server.chat = chat
    assert type(await _failure(await started(), _request())) is UnavailableError


async def _silent(line: _Line, body: dict[str, Any]) -> None:
    await asyncio.Event().wait()


async def _stuck(line: _Line, body: dict[str, Any]) -> None:
    await line.begin()
    await line.text("One")
    await asyncio.Event().wait()


@pytest.mark.parametrize(("chat", "text"), [(_silent, ""), (_stuck, "One")])
async def test_the_time_limit_ends_a_server_that_never_does(
    server: _Server, started: Started, chat: _Chat, text: str
) -> None:
    server.chat = chat
    model = await started()
    began = asyncio.get_running_loop().time()
    _, whole = await _parts(model, _request(time_limit_s=0.3))
    took = asyncio.get_running_loop().time() - began
    assert (whole.text, whole.finish_reason) == (text, "time")
    assert 0.3 <= took < 3


async def test_a_choice_not_made_in_time_is_unavailable(server: _Server, started: Started) -> None:
    server.chat = _silent
    error = await _failure(await started(), _request(choices=("A", "B"), time_limit_s=0.1))
    assert "time limit" in str(error)


async def test_a_server_that_keeps_the_line_open_after_the_answer_does_not_delay_it(
    server: _Server, started: Started
) -> None:
    async def chat(line: _Line, body: dict[str, Any]) -> None:
        await line.begin()
        await line.text("All", finish="stop")
        await asyncio.Event().wait()

    server.chat = chat
    _, whole = await _parts(await started(), _request())
    assert (whole.text, whole.finish_reason) == ("All", "stop")


async def _endless(line: _Line, body: dict[str, Any]) -> None:
    await line.begin()
    while True:
        await line.text("more ")
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_leaving_hangs_up_on_the_server(server: _Server, started: Started, how: str) -> None:
    server.chat = _endless
    model = await started()
    if how == "close":
        async with aclosing(model.generate(_request())) as parts:
            assert await anext(parts) == "more "
            assert model.unfinished == 1
    else:
        began = asyncio.Event()

        async def read() -> None:
            async for _ in model.generate(_request()):
                began.set()

        task = asyncio.create_task(read())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert model.unfinished == 0
    async with asyncio.timeout(2):
        await server.hung_up.wait()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, NotReadyError),
        (403, NotReadyError),
        (404, NotReadyError),
        (429, ResourceExhaustedError),
        (400, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
    ],
)
async def test_statuses_become_domain_errors_without_the_servers_words(
    server: _Server, started: Started, status: int, kind: type[ArgoError]
) -> None:
    server.chat = _status(status)
    error = await _failure(await started(), _request())
    assert type(error) is kind
    assert str(status) in str(error)
    assert len(server.bodies) == 1, "tried again"


@pytest.mark.parametrize(
    ("said", "after_s"), [("3", 3.0), (None, None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("9" * 400, None)]
)
async def test_a_server_that_is_full_says_when_to_come_back(
    server: _Server, started: Started, said: str | None, after_s: float | None
) -> None:
    server.chat = _status(429, headers={"Retry-After": said} if said else {})
    error = await _failure(await started(), _request())
    assert isinstance(error, ResourceExhaustedError)
    assert error.retry_after_s == after_s


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_names_its_setting(server: _Server, started: Started, status: int) -> None:
    server.chat = _status(status)
    assert "ARGO_SYNTHESIZER_API_KEY" in str(await _failure(await started(), _request()))


async def test_a_prompt_too_long_is_the_callers_mistake(server: _Server, started: Started) -> None:
    server.models = {"data": [{"id": "tiny", "max_model_len": 512}]}
    server.chat = _status(400, code="context_length_exceeded")
    error = await _failure(await started(), _request("word " * 600))
    assert isinstance(error, InvalidArgumentError)
    assert "at most 512 tokens together, got at least 505 and 8" in str(error)


async def test_tokens_are_estimated_by_what_the_server_counts_at_the_start(server: _Server, started: Started) -> None:
    text = "The radio unit receives samples inside its window."
    uncounted = (await started()).count_tokens(text)
    # Eight letters or blanks a token, which is coarser than the estimate without a count.
    server.started = False
    server.tokens_of = lambda prompt: list(range(len(prompt) // 8 + 1))
    counted = (await started()).count_tokens(text)
    assert len(text) // 8 + 1 <= counted < uncounted


async def test_a_server_that_does_not_tokenise_is_asked_once(server: _Server, started: Started) -> None:
    server.models = {"data": [{"id": "tiny", "owned_by": "vllm"}]}
    server.chat = _says("A", ("A", -0.5), ("B", -0.5))
    model = await started()
    await _parts(model, _request(choices=("A", "B")))
    assert len(server.tokenized) == 1
    assert "allowed_token_ids" not in server.bodies[0]


async def test_labels_are_asked_for_again_where_the_server_failed_to_tell(server: _Server, started: Started) -> None:
    server.models = {"data": [{"id": "tiny", "owned_by": "vllm"}]}
    server.tokenize_status = 503
    server.chat = _says("A", ("A", -0.5), ("B", -0.5))
    model = await started()
    await _parts(model, _request(choices=("A", "B")))
    server.tokens = {"A": [32], "B": [33]}
    await _parts(model, _request(choices=("A", "B")))
    assert "allowed_token_ids" not in server.bodies[0]
    assert server.bodies[1]["allowed_token_ids"] == [32, 33]


async def test_a_server_that_is_gone_is_unavailable(server: _Server, started: Started) -> None:
    model = await started()

    async def gone(line: _Line, body: dict[str, Any]) -> None:
        raise ConnectionError

    server.chat = gone
    assert type(await _failure(model, _request())) is UnavailableError
    await model.alive()


async def test_start_names_the_models_that_the_server_has(server: _Server, started: Started) -> None:
    server.models = {"data": [{"id": "other"}, {"id": "another"}]}
    with pytest.raises(NotReadyError, match="has no tiny; it has: another, other"):
        await started()


@pytest.mark.parametrize("models", [[], "text", {"data": None}, {}])
async def test_start_refuses_what_is_no_such_server(server: _Server, started: Started, models: object) -> None:
    server.models = models
    with pytest.raises(NotReadyError, match="/v1"):
        await started()


@pytest.mark.parametrize("status", [401, 404])
async def test_start_fails_where_an_operator_must_act(server: _Server, started: Started, status: int) -> None:
    server.models_status = status
    with pytest.raises(NotReadyError, match=str(status)):
        await started()


async def test_start_says_that_no_server_answers() -> None:
    model = OpenAiModel(EngineSettings(engine="openai", model="tiny", base_url="http://127.0.0.1:9/v1"))
    with pytest.raises(NotReadyError, match="base_url: no server answers"):
        await model.start()
    await model.close()


async def test_start_refuses_a_server_that_takes_no_plain_completion(server: _Server, started: Started) -> None:
    server.probe = _status(400)
    with pytest.raises(NotReadyError, match="plain chat completion"):
        await started()


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("B", "B"),
        (" b. ", "B"),
        ("[B]", "B"),
        ("B: the E2 interface", "B"),
        ("The answer is (B)", "B"),
        ("answer = B", "B"),
        ("Bread", None),
        ("B or C", None),
        ("A longer answer", None),
        ("", None),
        ("D", None),
    ],
)
def test_a_label_is_parsed_strictly(text: str, label: str | None) -> None:
    assert parse_label(text, ("A", "B", "C")) == label


def test_labels_that_differ_in_case_alone_are_told_apart_by_it() -> None:
    assert parse_label("a", ("A", "a")) == "a"
    assert parse_label("YES", ("Yes", "yes")) is None


def test_probabilities_of_labels_that_are_not_listed_are_unknown_or_0() -> None:
    assert renormalise([("x", -1.0)], ("A", "B")) == ()
    assert renormalise([("A", -700.0), ("x", 0.0)], ("A", "B")) == (1.0, 0.0)
    assert renormalise([("A", -math.inf), ("B", math.nan)], ("A", "B")) == ()
