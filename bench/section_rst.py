"""Sections of reStructuredText, by docutils; what only Sphinx knows is left out."""

from __future__ import annotations

import io
from typing import Any

from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document

from bench.outline import Outline

__all__ = ["read"]


def read(text: str, outline: Outline) -> None:
    """Walk a reStructuredText file into an outline."""
    settings: Any = get_default_settings(Parser)
    # Only the parser runs; roles and directives of Sphinx are unknown to it, which is no reason to say so.
    settings.report_level = 5
    settings.halt_level = 6
    settings.warning_stream = io.StringIO()
    settings.file_insertion_enabled = False
    settings.raw_enabled = False
    settings.syntax_highlight = "none"
    document = new_document("document", settings)
    Parser().parse(text, document)
    _walk(document, outline, 1)


def _walk(parent: nodes.Element, outline: Outline, level: int) -> None:
    for node in parent.children:
        _add(node, outline, level)


def _add(node: nodes.Node, outline: Outline, level: int) -> None:
    if isinstance(node, nodes.section):
        title = node[0]
        # docutils counts to the underline of a title.
        outline.heading(level, title.astext(), max(1, (title.line or 2) - 1))
        rest = nodes.Element()
        rest.children = node.children[1:]
        _walk(rest, outline, level + 1)
    elif isinstance(node, nodes.paragraph):
        outline.paragraph(node.astext())
    elif isinstance(node, nodes.definition_list_item | nodes.field):
        outline.term(node[0].astext(), _first_paragraph(node))
    elif isinstance(node, nodes.row):
        cells = [entry.astext() for entry in node.children]
        if len(cells) > 1:
            outline.term(cells[0], cells[1])
    elif isinstance(node, nodes.Element) and not isinstance(
        node, nodes.system_message | nodes.FixedTextElement | nodes.Invisible | nodes.TextElement
    ):
        _walk(node, outline, level)  # lists, tables, block quotes, notes


def _first_paragraph(node: nodes.Element) -> str:
    return next((paragraph.astext() for paragraph in node.findall(nodes.paragraph)), "")
