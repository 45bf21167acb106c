"""HTML, by Beautiful Soup over lxml: the page's main text without scripts, navigation and forms."""

from __future__ import annotations

import re
from typing import Final

from bs4 import BeautifulSoup
from bs4.element import Comment, NavigableString, Tag

from services.retriever.document import BlockKind, Outline, ParsedDocument

__all__ = ["read"]

_DROPPED: Final = (
    "script style noscript template nav header footer aside form button svg iframe object select textarea head".split()
)
_DROPPED_ROLES: Final = frozenset({"navigation", "banner", "contentinfo", "search", "complementary"})
_DROPPED_CLASSES: Final = frozenset({"headerlink", "sphinxsidebar", "toctree-wrapper", "breadcrumb", "related", "toc"})
_BLOCKS: Final = frozenset(
    "p div section article main ul ol dl table pre h1 h2 h3 h4 h5 h6 blockquote figure figcaption details summary "
    "address hr body dd dt li center fieldset".split()
)
_HEADING: Final = re.compile(r"^h([1-6])$")


def read(data: bytes) -> ParsedDocument:
    """Read an HTML page."""
    soup = BeautifulSoup(data, "lxml")
    title = " ".join(soup.title.get_text(" ").split()) if soup.title else ""
    for dropped in soup.find_all(_is_dropped):
        dropped.decompose()
    outline = Outline()
    root = soup.find("main") or soup.find("article") or soup.body or soup
    if isinstance(root, Tag):
        _walk(outline, root)
    return ParsedDocument(title=outline.first_heading() or title, blocks=tuple(outline.blocks))


def _is_dropped(tag: Tag) -> bool:
    if tag.name in _DROPPED:
        # A header inside an article holds its title; one of the page holds its menu.
        return not (tag.name == "header" and tag.find_parent(["main", "article"]) is not None)
    classes: list[str] = list(tag.get("class") or [])
    return str(tag.get("role", "")) in _DROPPED_ROLES or bool(_DROPPED_CLASSES.intersection(classes))


def _walk(outline: Outline, parent: Tag) -> None:
    """Add the children of a tag; loose text and inline tags between blocks make a paragraph."""
    loose: list[str] = []

    def close() -> None:
        outline.add(BlockKind.PARAGRAPH, "".join(loose))
        loose.clear()

    for child in parent.children:
        if isinstance(child, NavigableString):
            if not isinstance(child, Comment):
                loose.append(str(child))
            continue
        if not isinstance(child, Tag):
            continue
        if child.name not in _BLOCKS and child.find(lambda tag: tag.name in _BLOCKS) is None:
            loose.append(" " if child.name == "br" else child.get_text())
            continue
        close()
        _add(outline, child)
    close()


def _add(outline: Outline, tag: Tag) -> None:
    """Add one block-level tag."""
    if heading := _HEADING.match(tag.name):
        outline.heading(int(heading.group(1)), tag.get_text())
    elif tag.name in ("ul", "ol"):
        if not _is_navigation(tag):
            outline.add(BlockKind.LIST, "\n".join(_list_lines(tag, 0)))
    elif tag.name == "table":
        outline.add(BlockKind.TABLE, "\n".join(_table_lines(tag)))
    elif tag.name == "pre":
        outline.add(BlockKind.CODE, tag.get_text())
    elif tag.name == "dl":
        lines = [("- " if item.name == "dt" else "  ") + _flat(item) for item in tag.find_all(["dt", "dd"])]
        outline.add(BlockKind.LIST, "\n".join(lines))
    else:
        _walk(outline, tag)


def _flat(tag: Tag) -> str:
    return " ".join(tag.get_text(" ").split())


def _list_lines(tag: Tag, depth: int) -> list[str]:
    lines: list[str] = []
    for index, item in enumerate(tag.find_all("li", recursive=False), start=1):
        inner = [child for child in item.find_all(["ul", "ol"]) if child.find_parent(["ul", "ol"]) is tag]
        nested = [line for child in inner for line in _list_lines(child, depth + 1)]
        for child in inner:
            child.extract()
        mark = f"{index}." if tag.name == "ol" else "-"
        if text := _flat(item):
            lines.append("  " * depth + f"{mark} {text}")
        lines.extend(nested)
    return lines


def _table_lines(table: Tag) -> list[str]:
    rows = [row for row in table.find_all("tr") if row.find_parent("table") is table]
    return [" | ".join(_flat(cell) for cell in row.find_all(["td", "th"], recursive=False)) for row in rows]


def _is_navigation(tag: Tag) -> bool:
    """Whether a list holds nothing but links to anchors of the same page."""
    links = tag.find_all("a")
    if not links or not all(str(link.get("href", "")).startswith("#") for link in links):
        return False
    return len(_flat(tag)) <= sum(len(_flat(link)) + 1 for link in links) + 4 * len(links)
