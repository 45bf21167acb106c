"""The bundled primer and its questions keep the shape that retrieval and answering rely on."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PRIMER = EXAMPLES / "oran"
FILES = sorted(PRIMER.glob("*.md"))


def _sections(path: Path) -> dict[str, tuple[int, str]]:
    """Heading of each `##` section -> its 1-based line and its text with white space folded."""
    found: dict[str, tuple[int, list[str]]] = {}
    body: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("## "):
            body = []
            assert line[3:] not in found, f"{path.name}: heading {line[3:]!r} occurs twice"
            found[line[3:]] = (number, body)
        elif not line.startswith("# "):
            body.append(line)
    return {heading: (number, " ".join(" ".join(lines).split())) for heading, (number, lines) in found.items()}


SECTIONS = {path.name: _sections(path) for path in FILES}


def _records(name: str) -> list[dict[str, Any]]:
    lines = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


QUESTIONS = _records("questions.jsonl")
UNANSWERABLE = _records("unanswerable.jsonl")


def _five_words(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9]+", text.lower())
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def test_primer_has_at_least_sixty_sections() -> None:
    assert sum(len(sections) for sections in SECTIONS.values()) >= 60


def test_primer_holds_nothing_but_its_topics() -> None:
    assert sorted(path.name for path in PRIMER.rglob("*") if path.is_file()) == sorted(SECTIONS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_topic_has_one_title_then_sections(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    headings = [line for line in lines if line.startswith("#")]
    assert lines[0].startswith("# ")
    assert all(heading.startswith("## ") for heading in headings[1:])
    assert lines[1] == "" and lines[2] == headings[1], "text between the title and the first section has no section"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_section_has_80_to_250_words(path: Path) -> None:
    out_of_bounds = {
        heading: len(text.split())
        for heading, (_, text) in SECTIONS[path.name].items()
        if not 80 <= len(text.split()) <= 250
    }
    assert not out_of_bounds


def test_headings_are_unique_over_the_whole_primer() -> None:
    counts = Counter(heading for sections in SECTIONS.values() for heading in sections)
    assert [heading for heading, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_primer_is_plain_text_without_leftovers(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    strange = {
        char for char in text if not (char == "\n" or " " <= char <= "~" or char in "\u00b5\u00b1\u2013\u2014\u2019")
    }
    assert not strange
    assert not re.search(r"TODO|FIXME|XXX|lorem ipsum|copyright", text, flags=re.IGNORECASE)
    assert not re.search(r"[`|<>*_\[\]]{2}|https?://", text), "markup that an extractive answer would quote"


def test_sections_stand_alone() -> None:
    """A sentence that opens with a pronoun cannot be quoted without the one before it."""
    dangling = [
        (name, heading, sentence[:40])
        for name, sections in SECTIONS.items()
        for heading, (_, text) in sections.items()
        for sentence in re.split(r"(?<=[.?!])\s+", text)
        if re.match(r"(It|They|This|These|Those|Its|Their)\b", sentence)
    ]
    assert dangling == []


def test_there_are_enough_questions_of_each_kind() -> None:
    difficulty = Counter(record["difficulty"] for record in QUESTIONS)
    assert set(difficulty) == {"lookup", "paraphrase", "multi-hop"}
    assert len(QUESTIONS) >= 40
    assert difficulty["multi-hop"] >= 10
    assert sum("options" in record for record in QUESTIONS) >= 10
    assert len(UNANSWERABLE) >= 15


def test_question_ids_are_unique() -> None:
    ids = [record["id"] for record in QUESTIONS + UNANSWERABLE]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("record", QUESTIONS, ids=lambda record: record["id"])
def test_evidence_of_a_question_stands_in_its_section(record: dict[str, Any]) -> None:
    evidence = record["evidence"]
    assert (record["path"], record["section"]) == (evidence[0]["path"], evidence[0]["section"])
    for item in evidence:
        line, text = SECTIONS[item["path"]][item["section"]]
        assert item["section_line"] == line
        assert " ".join(item["support"].split()) in text
    needed = {(item["path"], item["section"]) for item in evidence}
    assert len(needed) == len(evidence) == (2 if record["difficulty"] == "multi-hop" else 1)
    assert all(path in SECTIONS for path in record["alt_paths"])


@pytest.mark.parametrize("record", QUESTIONS, ids=lambda record: record["id"])
def test_a_question_is_not_copied_from_its_source(record: dict[str, Any]) -> None:
    assert len(record["answer"].split()) <= 40
    for item in record["evidence"]:
        source = (PRIMER / item["path"]).read_text(encoding="utf-8")
        assert not _five_words(record["question"]) & _five_words(source)


@pytest.mark.parametrize(
    "record", [record for record in QUESTIONS if "options" in record], ids=lambda record: record["id"]
)
def test_a_choice_names_one_of_four_distinct_options(record: dict[str, Any]) -> None:
    assert len(record["options"]) == len(set(record["options"])) == 4
    assert record["choice"] in range(4)


def test_right_options_are_spread_over_all_positions() -> None:
    positions = Counter(record["choice"] for record in QUESTIONS if "options" in record)
    assert set(positions) == {0, 1, 2, 3}


def test_unanswerable_questions_carry_only_id_and_question() -> None:
    assert all(set(record) == {"id", "question"} and record["question"].strip() for record in UNANSWERABLE)
