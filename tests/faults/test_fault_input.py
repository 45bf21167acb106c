"""Bad input to one real stack: every error names field, value and bound, and nothing of the inside."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fault_bound import bound_of, none_is_zero
from fault_report import Observed
from fault_stack import Stack, running, script
from fault_wire import METHODS, Method, Outcome, Place, call, method_named, places, raw_channel, wire_field
from faulty_process import faulty_process
from faulty_service import SECRET
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from argo import limits
from argo.document import DocumentStatus
from deploy.roster import DECOMPOSER, SERVICES, SYNTHESIZER

pytestmark = pytest.mark.asyncio(loop_scope="module")

Send = Callable[..., Awaitable[Outcome]]
Metadata = tuple[tuple[str, str | bytes], ...]
_GROUP = "Bad input"
_FLOATS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_IN_BOUNDS = {"OK", "NOT_FOUND", "FAILED_PRECONDITION"}
"""Of a message in which every field is within its bounds: what it names may not be there."""
_INSIDE = re.compile(r"Traceback|\w+(Error|Exception)\b|\.py\b|/(home|root|usr|work)/|0x[0-9a-f]{6}|object at")
_CLEAR = re.compile(r"\S.* must .*, got \S.*")
_NEWER = wire_field(10_003, 2**64 - 1) + wire_field(10_004, b"of a newer version")
"""Fields that this version does not know."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("input")
    (folder / "policy.json").write_text("{}")
    async with running(
        folder,
        scripts=dict.fromkeys((DECOMPOSER, SYNTHESIZER), script(0.001, 0.0001)),
        settings={"ARGO_ORCHESTRATOR_POLICY_FILE": str(folder / "policy.json")},
    ) as stack:
        async with stack.client() as client:
            await stack.ask(client, "What is E2?", session_id="corpus")
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def send(stack: Stack) -> AsyncIterator[Send]:
    """Sends a method's messages, or their bytes, and holds every error to what any error must be."""
    channels = {service: raw_channel(stack.target(service)) for service in SERVICES}

    async def sent(method: Method, *frames: Message | bytes, metadata: Metadata = ()) -> Outcome:
        data = [frame if isinstance(frame, bytes) else frame.SerializeToString() for frame in frames]
        outcome = await call(channels[method.service], method, data, metadata=metadata)
        assert not _INSIDE.search(outcome.details), outcome
        assert outcome.status != "INVALID_ARGUMENT" or _CLEAR.fullmatch(outcome.details), outcome
        return outcome

    yield sent
    for channel in channels.values():
        await channel.close()


def _of(service: str) -> Iterator[tuple[Method, Place]]:
    """Every scalar field that a service's callers can set."""
    for method in METHODS:
        if method.service == service:
            for place in places(method.descriptor.input_type):
                yield method, place


def _with(method: Method, place: Place, value: Any) -> list[Message]:
    """A call that is right but for one field."""
    frames = method.valid()
    streams = method.descriptor.client_streaming
    place.put(next(frame for frame in frames if not streams or frame.HasField(place.fields[0].name)), value)
    return frames


def _wrong_numbers(field: FieldDescriptor) -> set[float]:
    """Values that no caller may send: outside of what the field's comment publishes, or no number."""
    wrong: set[float] = {math.nan, math.inf, -math.inf} if field.cpp_type in _FLOATS else set()
    if bound := bound_of(field):
        low, high = bound
        least, most = _INTEGERS.get(field.cpp_type, (-math.inf, math.inf))
        wrong |= {number for number in (low - 1, high + 1, least, most) if not low <= number <= high}
        wrong = {number for number in wrong if not number < least and not (number == 0 and none_is_zero(field))}
    return wrong


def _edge_numbers(field: FieldDescriptor) -> set[float]:
    """Values that must do: the ends of what is published, or of the type."""
    if bound := bound_of(field):
        return {*bound, 0} if none_is_zero(field) else set(bound)
    return {-1e308, 1e308} if field.cpp_type in _FLOATS else set(_INTEGERS[field.cpp_type])


def _tally(outcomes: Iterable[Outcome]) -> str:
    counted = Counter(outcome.status for outcome in outcomes)
    return ", ".join(f"{number} {status}" for status, number in counted.most_common())


@pytest.mark.case(
    _GROUP,
    "numbers, {service}",
    injected="NaN, both infinities, and what lies just and far outside of the published bounds, in each numeric field"
    " of each method; then the ends of the bounds",
    expected="INVALID_ARGUMENT that names the field, its value and the bound; the ends are accepted",
)
@pytest.mark.parametrize("service", SERVICES)
async def test_a_number_outside_of_its_published_bounds_is_refused_by_name(
    stack: Stack, send: Send, service: str, observed: Observed
) -> None:
    fields, outcomes = 0, []
    async with stack.invariant() as checked:
        for method, place in _of(service):
            if place.field.cpp_type not in (*_FLOATS, *_INTEGERS):
                continue
            fields += 1
            for number in _wrong_numbers(place.field):
                outcome = await send(method, *_with(method, place, number))
                outcomes.append(outcome)
                assert outcome.status == "INVALID_ARGUMENT", (method.name, place.said, number, outcome)
                assert outcome.details.startswith(f"{place.said.removeprefix('header.')} must be "), outcome
                assert outcome.details.endswith((f"got {number}", f"got {float(number)}")), outcome
            for number in _edge_numbers(place.field):
                outcome = await send(method, *_with(method, place, number))
                outcomes.append(outcome)
                fits = outcome.status in _IN_BOUNDS or place.field.name == "size_bytes"
                assert fits, (method.name, place.said, number, outcome)
    observed(f"{fields} fields: {_tally(outcomes)}")
    observed(checked)


@pytest.mark.case(
    _GROUP,
    "negative numbers, {service}",
    injected="-1 as it is on the wire in each unsigned field of 32 bits",
    expected="read as Protocol Buffers define it, refused by name where that is out of bounds",
)
@pytest.mark.parametrize("service", SERVICES)
async def test_a_negative_number_in_an_unsigned_field_is_read_as_protocol_buffers_say(
    stack: Stack, send: Send, service: str, observed: Observed
) -> None:
    outcomes = []
    async with stack.invariant():
        for method, place in _of(service):
            if place.field.cpp_type != FieldDescriptor.CPPTYPE_UINT32:
                continue
            plain = method.valid()[0].SerializeToString()
            # The greatest number of 32 bits and -1 differ on the wire, and are the same once read.
            greatest, outcome = [await send(method, plain + place.wire(bits)) for bits in (2**32 - 1, 2**64 - 1)]
            assert outcome == greatest, place.said
            outcomes.append(outcome)
    assert outcomes
    observed(_tally(outcomes))


@pytest.mark.case(
    _GROUP,
    "text that is not UTF-8, {service}",
    injected="bytes ff fe in each text field of each method",
    expected="INVALID_ARGUMENT, nothing of the parser's own words",
)
@pytest.mark.parametrize("service", SERVICES)
async def test_text_that_is_not_utf8_is_refused(stack: Stack, send: Send, service: str, observed: Observed) -> None:
    outcomes = []
    async with stack.invariant():
        for method, place in _of(service):
            if place.field.type != FieldDescriptor.TYPE_STRING:
                continue
            frames = [frame.SerializeToString() for frame in _with(method, place, "argo-mark")]
            outcomes.append(
                await send(method, *(frame.replace(b"argo-mark", b"argo-\xff\xfe\xff\xfe") for frame in frames))
            )
            assert outcomes[-1].status == "INVALID_ARGUMENT", (method.name, place.said, outcomes[-1])
    observed(f"{len(outcomes)} fields: {_tally(outcomes)}")


@pytest.mark.case(
    _GROUP,
    "enum values of a newer version, {service}",
    injected="77 in each enum field",
    expected="refused by name where the method reads it, else accepted",
)
@pytest.mark.parametrize("service", ["orchestrator", "decomposer", "synthesizer"])
async def test_an_enum_value_that_nobody_knows_is_refused_by_name_where_it_is_read(
    stack: Stack, send: Send, service: str, observed: Observed
) -> None:
    said = {}
    async with stack.invariant():
        for method, place in _of(service):
            if place.field.cpp_type != FieldDescriptor.CPPTYPE_ENUM:
                continue
            outcome = await send(method, *_with(method, place, 77))
            named = outcome.status == "INVALID_ARGUMENT" and outcome.details.startswith(f"{place.said} must be ")
            # What was done in an earlier step is handed on, and read by nobody.
            assert outcome.status == "OK" if place.said == "history[0].action" else named, (place.said, outcome)
            said[f"{method.descriptor.name}.{place.said}"] = outcome.status
    assert said
    observed(", ".join(f"{name}: {status}" for name, status in said.items()))


@pytest.mark.case(
    _GROUP,
    "fields of a newer version, and of another type, {service}",
    injected="in each method: two unknown fields; and each field a second time in the other wire type",
    expected="what the same call gets without them",
)
@pytest.mark.parametrize("service", SERVICES)
async def test_fields_that_this_version_does_not_know_change_nothing(
    stack: Stack, send: Send, service: str, observed: Observed
) -> None:
    outcomes = []
    async with stack.invariant():
        for method in (method for method in METHODS if method.service == service):
            frames = [frame.SerializeToString() for frame in method.valid()]
            plain = await send(method, *frames)
            other = b"".join(
                wire_field(field.number, 5 if field.cpp_type >= FieldDescriptor.CPPTYPE_STRING else b"text")
                for field in method.descriptor.input_type.fields
            )
            for more in (_NEWER, other):
                outcomes.append(await send(method, *(frame + more for frame in frames)))
                assert outcomes[-1].status == plain.status in _IN_BOUNDS, (method.name, outcomes[-1], plain)
    observed(_tally(outcomes))


@pytest.mark.case(
    _GROUP,
    "size of a message, {service}",
    injected="each method's own call, filled up to 262,144 bytes, then one byte more",
    expected="answered; then RESOURCE_EXHAUSTED with both sizes",
)
@pytest.mark.parametrize("service", SERVICES)
async def test_a_message_over_the_limit_is_refused_and_one_at_the_limit_is_not(
    stack: Stack, send: Send, service: str, observed: Observed
) -> None:
    outcomes = []
    async with stack.invariant():
        for method in (method for method in METHODS if method.service == service):
            first, *rest = (frame.SerializeToString() for frame in method.valid())
            room = limits.REQUEST_BYTES - len(first) - len(wire_field(10_004, b"x" * 200_000)) + 200_000
            for size, statuses in ((room, _IN_BOUNDS), (room + 1, {"RESOURCE_EXHAUSTED"})):
                outcomes.append(await send(method, first + wire_field(10_004, b"x" * size), *rest))
                assert outcomes[-1].status in statuses, (method.name, outcomes[-1])
            assert "(262145 vs. 262144)" in outcomes[-1].details, outcomes[-1]
    observed(f"{_tally(outcomes)}; {outcomes[-1].details}")


_ODD: tuple[Metadata, ...] = (
    (("traceparent", "00-zz-zz-01"), ("tracestate", "=,=,=" * 40)),
    (("authorization", "Basic YTpi"), ("authorization", "Bearer " + "x" * 2_000)),
    (("argo-tenant", "'; DROP TABLE session; --/../*"), ("argo-tenant", "x" * 2_000)),
    (("grpc-accept-encoding", "nothing"), ("x-odd-bin", bytes(range(256)))),
)


@pytest.mark.case(
    _GROUP,
    "odd metadata, {service}",
    injected="on each method's own call: a trace that is none, tokens nobody asked for, odd and long tenants, any"
    " bytes; then 64 KiB of it",
    expected="what the call gets without it; then RESOURCE_EXHAUSTED",
)
@pytest.mark.parametrize("service", SERVICES)
async def test_odd_metadata_changes_nothing_and_too_much_is_refused(
    stack: Stack, send: Send, service: str, observed: Observed
) -> None:
    outcomes = []
    async with stack.invariant():
        for method in (method for method in METHODS if method.service == service):
            for metadata in _ODD:
                outcomes.append(await send(method, *method.valid(), metadata=metadata))
                assert outcomes[-1].status in _IN_BOUNDS, (method.name, metadata, outcomes[-1])
            outcomes.append(await send(method, *method.valid(), metadata=(("x-much", "x" * 65_536),)))
            assert outcomes[-1].status == "RESOURCE_EXHAUSTED", (method.name, outcomes[-1])
    observed(_tally(outcomes))


_LONG = "x" * 2_001
_REFUSED = [
    ("OrchestratorService.Ask", "", "question must not be empty or blank, got 0 characters of blank text"),
    ("OrchestratorService.Ask", f"question: '{_LONG}'", "question must have at most 2000 characters, got 2001"),
    (
        "OrchestratorService.Ask",
        "question: 'q' options: 'one'",
        "options must be empty or hold 2..10 entries, got 1",
    ),
    (
        "OrchestratorService.Ask",
        "question: 'q' " + "".join(f"options: '{number}'" for number in range(11)),
        "options must be empty or hold 2..10 entries, got 11",
    ),
    (
        "OrchestratorService.Ask",
        f"question: 'q' options: 'one' options: '{_LONG[:1_001]}'",
        "options[1] must have at most 1000 characters, got 1001",
    ),
    (
        "OrchestratorService.Ask",
        "question: 'q' strategy: 'best'",
        "strategy must be one of mdp, fixed, always_reason, always_retrieve, random, single_shot, got 'best'",
    ),
    (
        "OrchestratorService.GetSession",
        "",
        "session_id must be 1..64 characters of a-z A-Z 0-9 - _ . , got ''",
    ),
    (
        "OrchestratorService.GetPolicy",
        "states { } " * 1_001,
        "states must hold at most 1000 entries, got 1001",
    ),
    ("DecomposerService.PlanFoci", f"question: '{_LONG}'", "question must have at most 2000 characters, got 2001"),
    ("DecomposerService.GenerateSubquery", "question: 'q'", "focus must be set, got none"),
    ("RetrieverService.Search", "", "len(texts) must be in 1..9, got 0"),
    ("RetrieverService.Search", "texts: 'a' " * 10, "len(texts) must be in 1..9, got 10"),
    ("RetrieverService.Search", f"texts: '{_LONG}'", "texts[0] must have at most 2000 characters, got 2001"),
    ("RetrieverService.DeleteDocuments", "sources: 'a' " * 1_001, "len(sources) must be in 1..1000, got 1001"),
    (
        "RetrieverService.Ingest",
        "header { source: '' }",
        "source must not be empty or blank, got 0 characters of blank text",
    ),
    (
        "RetrieverService.Ingest",
        f"header {{ source: '{_LONG[:1_025]}' }}",
        "source must have at most 1024 characters, got 1025",
    ),
    ("SynthesizerService.Reason", "question: 'q'", "focus must be set, got none"),
    (
        "SynthesizerService.Synthesize",
        "question: 'q' " + "evidence { id: 'p' text: 't' } " * 41,
        "evidence must hold at most 40 passages, got 41",
    ),
]


@pytest.mark.case(
    _GROUP,
    "empty, too long, too many",
    injected="empty and missing fields, a question of 2,001 characters, 1 and 11 options, 41 passages, and the like",
    expected="INVALID_ARGUMENT that names field, value and bound",
)
async def test_what_is_empty_too_long_or_too_many_is_refused_by_name(
    stack: Stack, send: Send, observed: Observed
) -> None:
    async with stack.invariant():
        for name, text, said in _REFUSED:
            method = method_named(name)
            assert str(await send(method, method.message(text))) == f"INVALID_ARGUMENT: {said}"
    observed(f"{len(_REFUSED)} messages: each refused by name, such as “{_REFUSED[1][2]}”")


_HOSTILE = ("A. ", "...", "- a\n", "e.g. i.e. ")
_LARGEST_S = 10.0
"""Five times what the slowest of them takes on a busy machine of two cores."""


@pytest.mark.case(
    _GROUP,
    "the largest texts that fit",
    injected="240,000 characters of sentences of one letter, of full stops, of list items and of abbreviations, as"
    " evidence and as history, on builtin engines",
    expected=f"answered within {_LARGEST_S:g} s: no work grows with the square of the length",
)
async def test_the_largest_texts_that_fit_do_not_hold_a_service_up(tmp_path: Path, observed: Observed) -> None:
    decomposer, synthesizer = (
        method_named(name) for name in ("DecomposerService.GenerateSubquery", "SynthesizerService.Synthesize")
    )
    slowest = 0.0
    async with running(tmp_path) as stack, stack.invariant() as checked:
        for text in (part * (240_000 // len(part)) for part in _HOSTILE):
            subquery = decomposer.message("question: 'What is E2?' focus { id: 'f1' text: 'E2' depends_on: 'f2' }")
            subquery.history.add(index=1).passages.add(id="p", text=text)
            answer = synthesizer.message("question: 'What is E2?' evidence { id: 'p' relevance: 1 }")
            answer.evidence[0].text = text
            for method, message in ((decomposer, subquery), (synthesizer, answer)):
                async with raw_channel(stack.target(method.service)) as channel:
                    started = time.perf_counter()
                    outcome = await call(channel, method, [message.SerializeToString()])
                    slowest = max(slowest, time.perf_counter() - started)
                assert outcome.status == "OK" and slowest < _LARGEST_S, (method.name, text[:9], outcome, slowest)
    observed(f"{2 * len(_HOSTILE)} calls OK, the slowest after {slowest:.2f} s")
    observed(checked)


@pytest.mark.case(
    _GROUP,
    "documents over their limits",
    injected="a document of 32 MiB and one byte by the SDK; by hand: such a header, a frame of 128 KiB and one byte,"
    " more and fewer bytes than the header said",
    expected="refused by name; the other documents of the same ingest are taken in",
)
async def test_a_document_or_frame_over_its_limit_is_refused_and_takes_no_other_with_it(
    stack: Stack, send: Send, observed: Observed, tmp_path: Path
) -> None:
    ingest = method_named("RetrieverService.Ingest")
    (tmp_path / "small.md").write_text("# O1\n\nO1 connects the SMO to managed elements.\n")
    with (tmp_path / "large.txt").open("wb") as large:
        large.truncate(limits.DOCUMENT_BYTES + 1)

    def frames(size: int, *parts: int) -> list[Message]:
        header = ingest.message(f"header {{ source: 'sized.txt' size_bytes: {size} }}")
        data = [ingest.message(f"data: '{'x' * part}'") for part in parts]
        return [header, *data]

    async with stack.invariant() as checked:
        async with stack.client() as client:
            report = await client.ingest(tmp_path)
        said = [
            await send(ingest, *call)
            for call in (
                frames(limits.DOCUMENT_BYTES + 1, 1),
                frames(limits.DOCUMENT_BYTES, limits.CALL_FRAME_BYTES + 1),
                frames(10, 11),
                frames(10, 9),
            )
        ]
        assert (await send(ingest, *frames(limits.CALL_FRAME_BYTES, limits.CALL_FRAME_BYTES))).status == "OK"
    assert [str(outcome) for outcome in said] == [
        "INVALID_ARGUMENT: size_bytes must be in 0..33554432, got 33554433",
        "INVALID_ARGUMENT: data must have at most 131072 bytes a frame, got 131073",
        "INVALID_ARGUMENT: data of 'sized.txt' must have size_bytes = 10 bytes, got 11",
        "INVALID_ARGUMENT: data of 'sized.txt' must have size_bytes = 10 bytes, got 9",
    ]
    assert [(one.source, one.status) for one in report.outcomes] == [("small.md", DocumentStatus.INDEXED)]
    assert ["33554433" in skipped.reason for skipped in report.skipped] == [True], report.skipped
    observed(f"SDK: small.md indexed, large.txt left out ({report.skipped[0].reason}); by hand: {_tally(said)}")
    observed(checked)


@pytest.mark.case(
    _GROUP,
    "methods and services that are not there",
    injected="/argo.v1.…/Nothing, /argo.v2.OrchestratorService/Ask, a path without a service, another service's method",
    expected="UNIMPLEMENTED, and the service lives",
)
async def test_an_unknown_method_or_service_is_unimplemented_and_the_server_lives(
    stack: Stack, send: Send, observed: Observed
) -> None:
    outcomes = []
    async with stack.invariant():
        for service in SERVICES:
            info = next(one for one in METHODS if one.service == service and one.descriptor.name == "GetInfo")
            other = next(one for one in METHODS if one.service != service)
            full = info.descriptor.containing_service.full_name
            for path in (f"/{full}/Nothing", "/argo.v2.OrchestratorService/Ask", "/nothing", other.path):
                async with raw_channel(stack.target(service)) as channel:
                    outcomes.append(await call(channel, info, [b""], path=path))
                assert outcomes[-1].status == "UNIMPLEMENTED", (path, outcomes[-1])
                assert not _INSIDE.search(outcomes[-1].details)
            assert (await send(info, b"")).status == "OK"
    observed(_tally(outcomes))


@pytest.mark.case(
    _GROUP,
    "a handler that breaks: {fault}",
    injected="a real process whose every method raises an error with a secret in its text, before its first reply or"
    " after it, or a cancellation that nobody asked for",
    expected="INTERNAL with an id and no more; the traceback in the log under that id; the process goes on",
)
@pytest.mark.parametrize("fault", ["raise", "raise-late", "cancel"])
async def test_a_handler_that_breaks_gives_an_id_and_tells_its_log_the_rest(
    tmp_path: Path, fault: str, observed: Observed
) -> None:
    broken = [method for method in METHODS if method.descriptor.server_streaming or fault != "raise-late"]
    async with faulty_process(tmp_path) as process, raw_channel(process.target) as channel:
        for method in broken:
            outcome = await call(channel, method, [b""], metadata=(("fault", fault),))
            found = re.fullmatch(r"internal error, reference ([0-9a-f]{8})", outcome.details)
            assert outcome.status == "INTERNAL" and found, (method.name, outcome)
            assert outcome.replies == (fault == "raise-late"), method.name
            logged = process.log().partition(f"{method.path} failed, reference {found[1]}\nTraceback")[2]
            assert logged, (method.name, process.log())
            assert "CancelledError" in logged if fault == "cancel" else SECRET in logged, method.name
            assert str(await call(channel, method, [b""])) == "OK"
        assert process.starts == 1 and process.running
    observed(f"{len(broken)} methods: {outcome}; traceback under that id in the log; the next call of each OK")
