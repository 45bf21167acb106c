"""Wording, sections and rules, by hand-worked cases and properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.duplicate import find_duplicates
from bench.outline import Outline
from bench.question_rule import question_of_heading, questions_of_sentence, questions_of_term
from bench.section_markdown import read as read_markdown
from bench.section_rst import read as read_restructuredtext
from bench.wording import base_form, content_words, reorder, reword, shares_run, without_articles, words


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_a_shared_run_is_five_words_in_a_row_in_both(question: list[str], text: list[str]) -> None:
    naive = any(question[i : i + 5] == text[j : j + 5] for i in range(len(question) - 4) for j in range(len(text) - 4))
    assert shares_run(" ".join(question), " ".join(text)) == naive


def test_case_and_punctuation_do_not_part_a_run() -> None:
    assert shares_run("What: the E2-node setup, fails?", " ".join(words("(the) E2 node: Setup fails")))
    assert not shares_run("the cell_id of node", " ".join(words("the cell id of node")))


@pytest.mark.parametrize(
    ("verb", "base"),
    [("handles", "handle"), ("carries", "carry"), ("processes", "process"), ("publishes", "publish"), ("has", "have")],
)
def test_a_verb_loses_its_ending(verb: str, base: str) -> None:
    assert base_form(verb) == base


def test_other_words_leave_names_and_code_alone() -> None:
    assert reword("creates a start_time via the Create API") == "makes a start_time by way of the Create API"
    assert reword("in order to verify") == "so as to check"
    plain = "the state of a gnb in the band"
    assert without_articles("show the state of a gNB", plain) == "show state of a gNB"
    assert without_articles("read the book of a gNB", plain) == "read the book of a gNB"
    assert reorder("what holds the format of the mapping file") == "what holds the mapping file format"
    assert content_words("What is the PRBs usage of a 5 in E2?") == {"prb", "usage", "e2"}


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        ("When the first slot arrives, the cell is marked as up.", "what happens when the first slot arrives", ""),
        ("Before the pods are started, load the images.", "what has to be done before the pods are started", ""),
        ("If you want to add an xApp, onboard its chart.", "how do I add an xApp", ""),
        ("To speed up the setup, pull all images first.", "how do I speed up the setup", ""),
        ("Use the admin tool to list all known sessions.", "how do I list all known sessions", ""),
        (
            "The E2 Manager is responsible for the links to all nodes.",
            "which part is responsible for the links to all nodes",
            "the E2 Manager",
        ),
        ("Kafka is used to hand on the counters.", "what serves to hand on the counters", "Kafka"),
        ("Kafka is used as the only message bus.", "as what does Kafka serve", ""),
        ("The topology schema is stored in one database.", "where is the topology schema stored", ""),
        ("The test runner can be configured with a JSON file.", "how can the test runner be configured", ""),
        ("The A1 Mediator validates every policy instance.", "what validates every policy instance", "the A1 Mediator"),
        ("All xApps use the shared data layer.", "what uses the shared data layer", "all xApps"),
    ],
)
def test_a_rule_asks_for_one_side_of_a_sentence(sentence: str, question: str, answer: str) -> None:
    made = next(questions_of_sentence(sentence))
    assert (made.text, made.answers) == (question, answer)


@pytest.mark.parametrize(
    "sentence",
    [
        "It validates every policy instance.",
        "This function returns a pointer to the message.",
        "The figure below shows the parts of the platform.",
        "When this is done, the cell is marked as up.",
        "Use the same tool to list them all at once.",
    ],
)
def test_what_only_its_context_explains_is_not_asked(sentence: str) -> None:
    assert list(questions_of_sentence(sentence)) == []


@pytest.mark.parametrize(
    ("term", "description", "questions"),
    [
        ("GZIP_ON", "Whether a record is compressed or not", ["what is meant by GZIP_ON"]),
        # An odd number of letters is asked for by its meaning first.
        (
            "gzip_on",
            "Compression of all records on Kafka; false by default",
            ["what stands for Compression of all records on Kafka", "what is meant by gzip_on"],
        ),
        ("--stop", "Stops the node at the next boundary", ["what is meant by --stop"]),
        ("gzip_on", "a string", []),
        ("Early Access", "Something that a list of features says", []),
    ],
)
def test_a_described_term_is_asked_for_its_meaning(term: str, description: str, questions: list[str]) -> None:
    assert [made.text for made in questions_of_term(term, description)] == questions


@pytest.mark.parametrize(
    ("heading", "question"),
    [
        ("Deploying the RIC", "how does one go about deploying the RIC"),
        ("How to add an xApp", "how do I add an xApp"),
        ("Delete a Cluster", "how do I delete a Cluster"),
        ("String Handling", "what is there to know about String Handling"),
    ],
)
def test_a_heading_is_asked_for_what_stands_under_it(heading: str, question: str) -> None:
    assert question_of_heading(heading).text == question


_MARKDOWN = """---
title: Setup
---
Above.

# Install

First, *fetch* `it`
now.

- one item

| Key | Use |
|-----|-----|
| a   | b   |

```
code
```

## Deep

Under.
"""


def test_sections_of_markdown_have_their_headings_lines_paragraphs_and_terms() -> None:
    outline = Outline()
    read_markdown(_MARKDOWN, outline)
    setup, install, deep = outline.sections()
    assert (setup.headings, setup.paragraphs) == (("Setup",), ("Above.",))
    assert (install.headings, install.line) == (("Setup", "Install"), 6)
    assert install.paragraphs == ("First, fetch it now.", "one item")
    assert install.terms == (("Key", "Use"), ("a", "b"))
    assert (deep.headings, deep.line, deep.paragraphs) == (("Setup", "Install", "Deep"), 21, ("Under.",))


_RESTRUCTUREDTEXT = """Guide
=====

.. toctree::

   other

First, *fetch* ``it``.

::

  code

* one item

gzip
  Whether it is compressed.

Deep
----

+-----+-----+
| a   | b   |
+-----+-----+

Under :ref:`it`.
"""


def test_sections_of_restructuredtext_have_their_headings_lines_paragraphs_and_terms() -> None:
    outline = Outline()
    read_restructuredtext(_RESTRUCTUREDTEXT, outline)
    guide, deep = outline.sections()
    assert (guide.headings, guide.line) == (("Guide",), 1)
    assert guide.paragraphs == ("First, fetch it.", "one item")
    assert guide.terms == (("gzip", "Whether it is compressed."),)
    assert (deep.headings, deep.line, deep.terms) == (("Guide", "Deep"), 19, (("a", "b"),))


def test_a_text_above_every_heading_is_in_no_section() -> None:
    outline = Outline()
    read_markdown("Alone.\n", outline)
    assert outline.sections() == ()


def test_half_of_the_runs_make_a_duplicate() -> None:
    # Ten words have six runs of five; the second document holds three of them, the third two.
    support = "a b c d e f g h i j"
    documents = {"own": support, "half": "x a b c d e f g y", "less": "x a b c d e f y", "other": "j i h g f e d c"}
    assert find_duplicates([("own", support)], documents) == [("half",)]
