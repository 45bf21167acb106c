"""Markdown, by markdown-it-py: CommonMark with tables, front matter left out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from services.retriever.document import BlockKind, Outline, ParsedDocument
from services.retriever.reader.encoding import decode

__all__ = ["read"]

_FRONT_MATTER: Final = re.compile(r"\A\ufeff?(---|\+\+\+)[ \t]*\n(.*?\n)\1[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE: Final = re.compile(r"^title\s*[:=]\s*[\"']?(.+?)[\"']?\s*$", re.MULTILINE)
_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
# Hugo shortcodes: what stands between an opening and a closing one is text, the codes themselves are not.
_SHORTCODE: Final = re.compile(r"\{\{[<%].*?[%>]\}\}", re.DOTALL)
_TAG: Final = re.compile(r"</?[a-zA-Z][^<>]*>")
_BREAK_TAG: Final = re.compile(r"<(?:br|/p|/li|/tr|/div)\s*/?>", re.IGNORECASE)
_HTML_HEADING: Final = re.compile(r"<h([1-6])\b[^>]*>(.*?)</h\1>", re.DOTALL | re.IGNORECASE)


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"])


def read(data: bytes) -> ParsedDocument:
    """Read a Markdown file; headings make the outline, a list of links into the page itself is navigation."""
    text = decode(data)
    title = ""
    if front := _FRONT_MATTER.match(text):
        if found := _TITLE.search(front.group(2)):
            title = found.group(1).strip()
        text = text[front.end() :]
    text = _SHORTCODE.sub("", _COMMENT.sub("", text))
    outline = Outline()
    for node in SyntaxTreeNode(_parser().parse(text)).children:
        _add(outline, node)
    return ParsedDocument(title=title or outline.first_heading(), blocks=tuple(outline.blocks))


def _add(outline: Outline, node: SyntaxTreeNode) -> None:
    """Add a block-level node to the outline."""
    match node.type:
        case "heading":
            outline.heading(int(node.tag[1]), _inline(node))
        case "paragraph":
            outline.add(BlockKind.PARAGRAPH, _inline(node))
        case "bullet_list" | "ordered_list":
            if not _is_navigation(node):
                outline.add(BlockKind.LIST, "\n".join(_list_lines(node, 0)))
        case "table":
            outline.add(BlockKind.TABLE, "\n".join(_table_rows(node)))
        case "fence" | "code_block":
            outline.add(BlockKind.CODE, node.content)
        case "blockquote":
            for child in node.children:
                _add(outline, child)
        case "html_block":
            if heading := _HTML_HEADING.search(node.content):
                outline.heading(int(heading.group(1)), _TAG.sub("", heading.group(2)))
            rest = _HTML_HEADING.sub("", node.content)
            outline.add(BlockKind.PARAGRAPH, _TAG.sub("", _BREAK_TAG.sub(" ", rest)))
        case _:
            pass  # rules and link definitions hold no text


def _inline(node: SyntaxTreeNode) -> str:
    """The text of a node's inline content, markup left out."""
    return "".join(_inline_text(child.children or []) for child in _inline_tokens(node)).strip()


def _inline_tokens(node: SyntaxTreeNode) -> list[Token]:
    return [child.token for child in node.walk() if child.type == "inline" and child.token is not None]


def _inline_text(tokens: Sequence[Token]) -> str:
    found: list[str] = []
    for token in tokens:
        if token.type in ("text", "code_inline"):
            found.append(token.content)
        elif token.type in ("softbreak", "hardbreak"):
            found.append(" ")
        elif token.type == "html_inline":
            found.append(" " if _BREAK_TAG.match(token.content) else "")
        elif token.type == "image":
            found.append(token.content)  # the alternative text
    return "".join(found)


def _list_lines(node: SyntaxTreeNode, depth: int) -> list[str]:
    """One line for each item, nested items indented; blocks inside an item follow it."""
    lines: list[str] = []
    start = node.attrs.get("start", 1)
    for index, item in enumerate(node.children):
        mark = f"{int(start) + index}." if node.type == "ordered_list" else "-"
        lead = "  " * depth + mark + " "
        for child in item.children:
            if child.type in ("bullet_list", "ordered_list"):
                lines.extend(_list_lines(child, depth + 1))
            elif child.type == "table":
                lines.extend(_table_rows(child))
            elif child.type in ("fence", "code_block"):
                lines.extend("  " * (depth + 1) + line for line in child.content.splitlines())
            else:
                text = _inline(child) if child.type != "html_block" else _TAG.sub("", child.content)
                if text:
                    lines.append(lead + " ".join(text.split()))
                    lead = "  " * (depth + 1)
    return lines


def _table_rows(node: SyntaxTreeNode) -> list[str]:
    rows = [row for row in node.walk() if row.type == "tr"]
    return [" | ".join(_inline(cell) for cell in row.children) for row in rows]


def _is_navigation(node: SyntaxTreeNode) -> bool:
    """Whether every text of a list is a link to a heading of the same page."""
    links = 0
    for token in _inline_tokens(node):
        inside = False
        for child in token.children or []:
            if child.type == "link_open":
                inside = str(child.attrs.get("href", "")).startswith("#")
                links += inside
            elif child.type == "link_close":
                inside = False
            elif child.type in ("text", "code_inline") and child.content.strip() and not inside:
                return False
    return links > 0
