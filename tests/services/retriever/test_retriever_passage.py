from __future__ import annotations

import itertools

import pytest

from services.retriever.document import Block, BlockKind, ParsedDocument
from services.retriever.passage import Passage, PassageRules, make_passages

RULES = PassageRules(words=60, table_words=80, overlap_words=12, pack_words=60)


def _cut(*blocks: Block, rules: PassageRules = RULES) -> list[Passage]:
    document = ParsedDocument("Guide", tuple(blocks))
    return make_passages(document, source="g.md", content_hash="h", media_type="text/markdown", rules=rules)


def _sentences(count: int, words: int = 10) -> str:
    return " ".join(" ".join([f"S{number}", *["word"] * (words - 2), "end."]) for number in range(count))


def _block(text: str, *headings: str, kind: BlockKind = BlockKind.PARAGRAPH) -> Block:
    return Block(kind, text, headings)


def test_small_neighbouring_sections_share_a_passage_each_under_its_heading() -> None:
    passages = _cut(_block("one one", "A", "B"), _block("two two", "A", "C"), _block("three", "Z"))
    assert [(passage.section, passage.text) for passage in passages] == [
        ("A", "B\none one\nC\ntwo two"),
        ("Z", "three"),
    ]


def test_without_packing_every_section_is_its_own_passage() -> None:
    rules = RULES.model_copy(update={"pack_words": 0})
    passages = _cut(_block("one", "A", "B"), _block("two", "A", "C"), rules=rules)
    assert [passage.section for passage in passages] == ["A > B", "A > C"]


def test_no_passage_of_prose_exceeds_the_cap_and_no_sentence_is_lost() -> None:
    passages = _cut(_block(_sentences(40), "A"))
    assert max(len(passage.text.split()) for passage in passages) <= 60
    text = " ".join(passage.text for passage in passages)
    assert all(f"S{number} " in text for number in range(40))


def test_consecutive_passages_of_a_section_overlap_by_at_most_the_limit() -> None:
    passages = _cut(_block(_sentences(20), "A"))
    for before, after in itertools.pairwise(passages):
        shared = [line for line in before.text.splitlines() if line in after.text.splitlines()]
        assert 1 <= sum(len(line.split()) for line in shared) <= 12


def test_a_table_stays_whole_up_to_its_limit() -> None:
    table = "\n".join(["Name | Value", *[f"row{number} | value" for number in range(25)]])
    assert [passage.text for passage in _cut(_block(table, "T", kind=BlockKind.TABLE))] == [table]


def test_a_longer_table_splits_between_rows_under_its_head_row() -> None:
    table = "\n".join(["Name | Value", *[f"row{number} | value" for number in range(60)]])
    passages = _cut(_block(table, "T", kind=BlockKind.TABLE))
    assert len(passages) > 1
    assert all(passage.text.splitlines()[0] == "Name | Value" for passage in passages)
    rows = [line for passage in passages for line in passage.text.splitlines()[1:]]
    assert rows == table.splitlines()[1:]


def test_code_stands_between_fences() -> None:
    passages = _cut(_block("Run:", "A"), _block("make up", "A", kind=BlockKind.CODE), _block("Done.", "A"))
    assert [passage.text for passage in passages] == ["Run:\n```\nmake up\n```\nDone."]


def test_ids_are_stable_and_differ_by_source_content_and_rules() -> None:
    block = _block("text", "A")
    first = _cut(block)[0].id
    assert _cut(block)[0].id == first
    document = ParsedDocument("Guide", (block,))
    others = {
        make_passages(document, source=source, content_hash=content, media_type="", rules=rules)[0].id
        for source, content, rules in [
            ("other.md", "h", RULES),
            ("g.md", "other", RULES),
            ("g.md", "h", RULES.model_copy(update={"words": 61})),
        ]
    }
    assert len(others | {first}) == 4


@pytest.mark.parametrize(("title", "section", "head"), [("Guide", "A > B", "Guide > A > B"), ("A", "A > B", "A > B")])
def test_the_title_is_indexed_once(title: str, section: str, head: str) -> None:
    passage = Passage(id="1", text="text", source="s", title=title, section=section)
    assert passage.indexed_text == f"{head}\ntext"


@pytest.mark.parametrize("kind", [BlockKind.PARAGRAPH, BlockKind.TABLE, BlockKind.CODE])
def test_a_word_without_end_does_not_make_a_passage_without_end(kind: BlockKind) -> None:
    passages = _cut(_block("before " + "Ab9" * 200_000 + " after", "A", kind=kind))
    assert max(len(passage.text) for passage in passages) < 100 * 300
    assert passages[0].text.removeprefix("```\n").startswith("before Ab9")
    assert passages[-1].text.removesuffix("\n```").endswith(" after")


def test_a_long_address_stays_whole() -> None:
    address = "https://example.org/" + "a" * 280
    assert _cut(_block(f"see {address} there", "A"))[0].text == f"see {address} there"
