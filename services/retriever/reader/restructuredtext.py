"""reStructuredText, by docutils; what only Sphinx knows keeps its words.

Only the parser runs, without docutils' transforms, so that every title stays a section, and what the parser could not
make sense of stays in the tree beside a system message, which holds its source text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any, Final

from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document

from services.retriever.document import BlockKind, Outline, ParsedDocument
from services.retriever.reader.encoding import decode

__all__ = ["read"]

_DIRECTIVE: Final = re.compile(r"^\s*(?:\.\.\s+)?(?:\|[^|]+\|\s+)?([\w:.+-]+)::[ \t]*(.*)$")
_OPTION: Final = re.compile(r"^\s*:[\w-]+:(?:\s.*)?$")
_ROLE: Final = re.compile(r":[\w:+.-]+:`([^`]*)`|`([^`]*)`:[\w:+.-]+:")
_ROLE_TARGET: Final = re.compile(r"\s*<[^<>]*>\s*$")
_FURNITURE_DIRECTIVES: Final = frozenset(
    "toctree contents index meta tags raw include literalinclude openapi image figure graphviz uml plantuml blockdiag "
    "highlight default-role currentmodule sectionauthor codeauthor tabularcolumns only-for automodule autofunction "
    "autoclass autosummary doxygenfile doxygenclass jsonschema role download".split()
)
_CODE_DIRECTIVES: Final = frozenset("code code-block sourcecode parsed-literal prompt console".split())
_DEEPEST_FALLBACK: Final = 4
"""Unknown directives nest (tabs in tabs); deeper than this their source is kept as it is."""


def read(data: bytes) -> ParsedDocument:
    """Read a reStructuredText file; nothing is included from elsewhere, and nothing is written to stderr."""
    walker = _Walker(Outline())
    walker.parse(decode(data), depth=0)
    return ParsedDocument(title=walker.outline.first_heading(), blocks=tuple(walker.outline.blocks))


def _parse(text: str) -> nodes.document:
    settings: Any = get_default_settings(Parser)
    settings.report_level = 5
    settings.halt_level = 6
    settings.warning_stream = io.StringIO()
    # A document that is ingested must not read files of the machine that ingests it.
    settings.file_insertion_enabled = False
    settings.raw_enabled = False
    settings.syntax_highlight = "none"
    document = new_document("document", settings)
    Parser().parse(text, document)
    return document


class _Walker:
    """Adds the nodes of a docutils tree to an outline."""

    def __init__(self, outline: Outline) -> None:
        self.outline = outline
        self._depth = 0

    def parse(self, text: str, depth: int) -> None:
        """Parse a source text and add what it says, at the heading level reached so far."""
        before, self._depth = self._depth, depth
        level = len(self.outline.headings) if depth else 0
        self.walk(_parse(text).children, level)
        self._depth = before

    def walk(self, children: Iterable[nodes.Node], level: int) -> None:
        """Add a row of sibling nodes."""
        for node in children:
            self._add(node, level)

    def _add(self, node: nodes.Node, level: int) -> None:
        if isinstance(node, nodes.section):
            self.outline.heading(level + 1, _text(node[0]))
            self.walk(node.children[1:], level + 1)
            # A section that a later sibling does not close must not stay open for its parent's next text.
            self.outline.heading(level + 1, "")
        elif isinstance(node, nodes.paragraph | nodes.line_block | nodes.attribution | nodes.rubric):
            self.outline.add(BlockKind.PARAGRAPH, _text(node))
        elif isinstance(node, nodes.bullet_list | nodes.enumerated_list | nodes.definition_list | nodes.field_list):
            self.outline.add(BlockKind.LIST, "\n".join(_list_lines(node, 0)))
        elif isinstance(node, nodes.option_list):
            rows = [": ".join(_text(part) for part in item.children) for item in _elements(node)]
            self.outline.add(BlockKind.LIST, "\n".join(f"- {row}" for row in rows))
        elif isinstance(node, nodes.table):
            self.outline.add(BlockKind.TABLE, "\n".join(_table_lines(node)))
        elif isinstance(node, nodes.system_message):
            self._add_unparsed(node)
        elif isinstance(node, nodes.literal_block | nodes.doctest_block | nodes.math_block):
            self.outline.add(BlockKind.CODE, node.astext())
        elif isinstance(node, nodes.comment | nodes.pending | nodes.substitution_definition | nodes.target | nodes.raw):
            pass
        elif isinstance(node, nodes.TextElement):
            self.outline.add(BlockKind.PARAGRAPH, _text(node))
        elif isinstance(node, nodes.Element):
            self.walk(node.children, level)  # block quotes, admonitions, figures, containers

    def _add_unparsed(self, message: nodes.system_message) -> None:
        """Keep the words of a directive or table that docutils does not know or could not parse."""
        source = next(iter(message.findall(nodes.literal_block)), None)
        if source is None:
            return
        lines = source.astext().expandtabs(8).splitlines()
        directive = _DIRECTIVE.match(lines[0]) if lines else None
        if directive is None:
            self.outline.add(BlockKind.TABLE, "\n".join(lines))
            return
        name, argument = directive.group(1).lower(), directive.group(2).strip()
        if name in _FURNITURE_DIRECTIVES or name.startswith("auto"):
            return
        body = lines[1:]
        while body and (not body[0].strip() or _OPTION.match(body[0])):
            body.pop(0)
        indent = min((len(line) - len(line.lstrip()) for line in body if line.strip()), default=0)
        body = [line[indent:] for line in body]
        if name in _CODE_DIRECTIVES:
            self.outline.add(BlockKind.CODE, "\n".join(body))
        elif self._depth >= _DEEPEST_FALLBACK:
            self.outline.add(BlockKind.PARAGRAPH, "\n".join([argument, *body]))
        else:
            self.parse("\n".join([argument, "", *body]), self._depth + 1)


def _text(node: nodes.Node) -> str:
    """Words of a node on one line; an unknown role keeps its text and loses its name and target."""
    if isinstance(node, nodes.Text):
        return node.astext()
    if isinstance(node, nodes.problematic):
        return _ROLE.sub(lambda found: _ROLE_TARGET.sub("", found.group(1) or found.group(2) or ""), node.astext())
    if isinstance(node, nodes.system_message | nodes.raw | nodes.comment | nodes.target):
        return ""
    if isinstance(node, nodes.image):
        return str(node.get("alt", ""))
    joint = "" if isinstance(node, nodes.TextElement) else " "
    return " ".join(joint.join(_text(child) for child in node.children).split()) if joint else _inline(node)


def _inline(node: nodes.Node) -> str:
    return "".join(_text(child) for child in node.children).replace("\n", " ")


def _elements(node: nodes.Node) -> list[nodes.Element]:
    return [child for child in node.children if isinstance(child, nodes.Element)]


def _list_lines(node: nodes.Element, depth: int) -> list[str]:
    """One line for each item, nested lists indented."""
    lines: list[str] = []
    for index, item in enumerate(_elements(node)):
        if isinstance(item, nodes.system_message):
            continue
        mark = f"{int(node.get('start', 1)) + index}." if isinstance(node, nodes.enumerated_list) else "-"
        lead = "  " * depth + mark + " "
        if isinstance(item, nodes.definition_list_item | nodes.field):
            lines.append(lead + ": ".join(_text(part) for part in _elements(item) if _is_head(part)))
            body = [part for part in _elements(item) if not _is_head(part)]
            lines.extend(_item_lines([child for part in body for child in _elements(part)], "  " * (depth + 1), depth))
        else:
            lines.extend(_item_lines(_elements(item), lead, depth))
    return lines


def _is_head(node: nodes.Element) -> bool:
    return isinstance(node, nodes.term | nodes.classifier | nodes.field_name)


def _item_lines(children: list[nodes.Element], lead: str, depth: int) -> list[str]:
    """Lines of what stands inside one list item; the first carries the item's mark."""
    lines: list[str] = []
    for child in children:
        if isinstance(child, nodes.bullet_list | nodes.enumerated_list | nodes.definition_list | nodes.field_list):
            lines.extend(_list_lines(child, depth + 1))
            continue
        if isinstance(child, nodes.table):
            lines.extend(_table_lines(child))
            continue
        if isinstance(child, nodes.literal_block):
            lines.extend("  " * (depth + 1) + line for line in child.astext().splitlines())
            continue
        if isinstance(child, nodes.block_quote | nodes.Admonition) and not isinstance(child, nodes.system_message):
            lines.extend(_item_lines(_elements(child), lead, depth))
        elif text := _text(child):
            lines.append(lead + text)
        lead = "  " * (depth + 1)
    return lines


def _table_lines(table: nodes.table) -> list[str]:
    """Rows with cells parted by " | "; a cell that spans rows is repeated in each, so that every row reads alone."""
    lines = [_text(title) for title in _elements(table) if isinstance(title, nodes.title)]
    spans: dict[int, tuple[int, str]] = {}
    for row in table.findall(nodes.row):
        cells: list[str] = []
        column = 0
        entries = _elements(row)
        while entries or column in spans:
            if column in spans:
                left, text = spans.pop(column)
                if left > 1:
                    spans[column] = (left - 1, text)
                cells.append(text)
                column += 1
                continue
            entry = entries.pop(0)
            text = _cell(entry)
            if more := int(entry.get("morerows", 0)):
                spans[column] = (more, text)
            cells.append(text)
            column += 1 + int(entry.get("morecols", 0))
        lines.append(" | ".join(cells))
    return [line for line in lines if line.strip(" |")]


def _cell(entry: nodes.Element) -> str:
    """Words of a cell on one line."""
    return " ".join(" ".join(_text(child) for child in _elements(entry)).split())
