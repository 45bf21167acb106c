from __future__ import annotations

import io
import re
import zipfile

import docx
import pytest
from pypdf import PdfWriter

from argo.errors import InvalidArgumentError
from services.retriever.document import BlockKind, BrokenDocumentError, ParsedDocument
from services.retriever.reader import detect_media_type, read_document


def _read(data: bytes | str, source: str) -> ParsedDocument:
    raw = data.encode() if isinstance(data, str) else data
    return read_document(raw, detect_media_type(source), source)


def _texts(document: ParsedDocument) -> list[str]:
    return [block.text for block in document.blocks]


MARKDOWN = """---
title: "Guide to O1"
---
<!-- SPDX-License-Identifier: Apache-2.0 -->
- [Setup](#setup)
- [Faults](#faults)

# O1

Text with **bold**, `code` and a [link](http://x.example).

## Faults

1. first
   - nested
2. second

| Name | Value |
|------|-------|
| a    | 1     |

```sh
run --fast
```
"""


def test_markdown_keeps_words_and_headings_and_drops_markup_comments_and_navigation() -> None:
    document = _read(MARKDOWN, "o1.md")
    assert document.title == "Guide to O1"
    assert [(block.kind, block.headings) for block in document.blocks] == [
        (BlockKind.PARAGRAPH, ("O1",)),
        (BlockKind.LIST, ("O1", "Faults")),
        (BlockKind.TABLE, ("O1", "Faults")),
        (BlockKind.CODE, ("O1", "Faults")),
    ]
    assert _texts(document) == [
        "Text with bold, code and a link.",
        "1. first\n  - nested\n2. second",
        "Name | Value\na | 1",
        "run --fast",
    ]


RST = """
.. Licensed under the Apache License, Version 2.0

Routing
=======

.. toctree::
   :maxdepth: 2

   hidden-page

See :doc:`the guide <guide>` and :ref:`target`.

.. tabs::

   Kept words of an unknown directive.

.. include:: /etc/passwd

.. code-block:: bash
   :emphasize-lines: 1

   curl http://x.example

Tables
------

+------+-------+
| Name | Value |
+======+=======+
| a    | 1     |
|      +-------+
|      | 2     |
+------+-------+

.. list-table::
   :header-rows: 1

   * - K
     - V
   * - b
     - 3
"""


def test_restructuredtext_keeps_what_only_sphinx_knows_and_reads_no_other_file(
    capfd: pytest.CaptureFixture[str],
) -> None:
    document = _read(RST, "routing.rst")
    assert _texts(document) == [
        "See the guide and target.",
        "Kept words of an unknown directive.",
        "curl http://x.example",
        "Name | Value\na | 1\na | 2",
        "K | V\nb | 3",
    ]
    assert [block.headings for block in document.blocks][-1] == ("Routing", "Tables")
    assert capfd.readouterr().err == ""


def test_a_section_does_not_leak_into_the_next_of_its_parents() -> None:
    document = _read("A\n=\n\none\n\nB\n-\n\ntwo\n\nC\n=\n\nthree\n", "x.rst")
    assert [block.headings for block in document.blocks] == [("A",), ("A", "B"), ("C",)]


def test_a_broken_rst_table_keeps_its_words() -> None:
    document = _read("T\n=\n\n+---+---+\n| a | b |\n+---+\n| c | d |\n+---+---+\n", "t.rst")
    assert set("abcd") <= set(re.findall(r"\b[a-d]\b", " ".join(_texts(document))))


def test_html_keeps_the_main_text_and_drops_menus_scripts_and_anchors() -> None:
    page = """<html><head><title>Site</title><script>x()</script></head><body>
    <nav><ul><li><a href="/a">Menu</a></li></ul></nav>
    <main><h1>Timing<a class="headerlink" href="#t">¶</a></h1>
    <p>PTP <b>profile</b> G.8275.1.</p><ul><li>one<ul><li>two</li></ul></li></ul>
    <table><tr><th>K</th><th>V</th></tr><tr><td>a</td><td>1</td></tr></table></main>
    <footer>Imprint</footer></body></html>"""
    document = _read(page, "t.html")
    assert document.title == "Timing"
    assert _texts(document) == ["PTP profile G.8275.1.", "- one\n  - two", "K | V\na | 1"]


def test_plain_text_finds_underlined_and_numbered_headings() -> None:
    document = _read("Notes\n=====\n\nfirst line\nsecond line\n\n1.2 Delay management\n\ntext\n", "n.txt")
    assert [(block.headings, block.text) for block in document.blocks] == [
        (("Notes",), "first line second line"),
        (("Notes", "1.2 Delay management"), "text"),
    ]


def test_docx_keeps_headings_lists_and_tables() -> None:
    made = docx.Document()
    made.core_properties.title = "O-RAN.WG4.CUS.0-R003-v15.00"
    made.add_heading("Delay", level=1)
    made.add_paragraph("T12 is the fronthaul delay.")
    made.add_paragraph("first", style="List Bullet")
    made.add_paragraph("second", style="List Bullet")
    table = made.add_table(rows=2, cols=2)
    for row, cells in enumerate((("K", "V"), ("a", "1"))):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    buffer = io.BytesIO()
    made.save(buffer)
    document = _read(buffer.getvalue(), "cus.docx")
    assert _texts(document) == ["T12 is the fronthaul delay.", "- first\n- second", "K | V\na | 1"]
    assert document.blocks[0].headings == ("Delay",)
    assert (document.number, document.version, document.working_group) == ("O-RAN.WG4.CUS.0", "15.00", "WG4")


def _pdf(pages: list[list[str]]) -> bytes:
    """A PDF with one text line below the other, written by hand so that the test needs no other library."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for number, lines in enumerate(pages):
        content = "BT /F1 12 Tf 72 720 Td 14 TL " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R "
            f"/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream".encode())
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def test_pdf_gives_pages_and_drops_running_headers_and_the_table_of_contents() -> None:
    words = ["alpha", "beta", "gamma", "delta", "epsilon"]
    pages = [["O-RAN.WG4.CUS", f"Page {number} of 5", f"Text {word}."] for number, word in enumerate(words, start=1)]
    pages[0].append("5.3 Delay management ........ 17")
    document = _read(_pdf(pages), "cus.pdf")
    assert [(block.page, block.text) for block in document.blocks] == [
        (number, f"Text {word}.") for number, word in enumerate(words, start=1)
    ]


def _bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"\0" * (257 * 1024 * 1024))
    return buffer.getvalue()


def _encrypted() -> bytes:
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.encrypt("secret", algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ("cut.pdf", _pdf([["text"]])[:200]),
        ("noise.pdf", b"not a PDF"),
        ("locked.pdf", _encrypted()),
        ("scan.pdf", _pdf([[""]])),
        ("noise.docx", b"PK not a zip"),
        ("empty.docx", b""),
        ("binary.md", b"\x00\x01\x02"),
    ],
)
def test_a_broken_file_raises_the_domain_error_that_names_it(source: str, data: bytes) -> None:
    with pytest.raises(BrokenDocumentError, match=re.escape(source)):
        _read(data, source)


def test_an_archive_that_unpacks_to_too_much_is_refused_unread() -> None:
    with pytest.raises(BrokenDocumentError, match="must unpack to at most 268435456 bytes"):
        _read(_bomb(), "bomb.docx")


def test_an_unknown_media_type_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidArgumentError, match=r"text/markdown.*got 'image/png'"):
        detect_media_type("a.md", "image/png")
    with pytest.raises(InvalidArgumentError, match=r"\.docx"):
        detect_media_type("picture.png")
    assert detect_media_type("A.MD", "") == "text/markdown"
    assert detect_media_type("x", "text/html; charset=utf-8") == "text/html"
