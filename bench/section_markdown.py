"""Sections of Markdown, by markdown-it-py."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from bench.outline import Outline

__all__ = ["read"]

_FRONT_MATTER: Final = re.compile(r"\A\ufeff?(---|\+\+\+)[ \t]*\n(.*?\n)\1[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE: Final = re.compile(r"^title\s*[:=]\s*[\"']?(.+?)[\"']?\s*$", re.MULTILINE)
# Comments, and the shortcodes of Hugo, which stand between text and are none.
_NO_TEXT: Final = re.compile(r"<!--.*?-->|\{\{[<%].*?[%>]\}\}", re.DOTALL)


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table")


def read(text: str, outline: Outline) -> None:
    """Walk a Markdown file into an outline; a title in front matter is the outermost heading."""
    front = _FRONT_MATTER.match(text)
    first_line = 1
    if front is not None:
        if title := _FRONT_TITLE.search(front.group(2)):
            outline.heading(0, title.group(1), 1)
        first_line += front.group().count("\n")
        text = text[front.end() :]
    # What is taken out leaves its line ends, so that headings keep their lines.
    text = _NO_TEXT.sub(lambda found: "\n" * found.group().count("\n"), text)
    for node in SyntaxTreeNode(_parser().parse(text)).children:
        _add(node, outline, first_line)


def _add(node: SyntaxTreeNode, outline: Outline, first_line: int) -> None:
    match node.type:
        case "heading":
            outline.heading(int(node.tag[1]), _inline(node), (node.map or (0, 0))[0] + first_line)
        case "paragraph":
            outline.paragraph(_inline(node))
        case "table":
            for row in (row for row in node.walk() if row.type == "tr"):
                cells = [_inline(cell) for cell in row.children]
                if len(cells) > 1:
                    outline.term(cells[0], cells[1])
        case "bullet_list" | "ordered_list" | "list_item" | "blockquote":
            for child in node.children:
                _add(child, outline, first_line)
        case _:
            pass  # code, rules and HTML


def _inline(node: SyntaxTreeNode) -> str:
    tokens = [child.token for child in node.walk() if child.type == "inline" and child.token is not None]
    return "".join(_text(inner) for token in tokens for inner in token.children or [])


def _text(token: Token) -> str:
    if token.type in ("text", "code_inline"):
        return token.content
    return " " if token.type in ("softbreak", "hardbreak") else ""
