"""Documents that were made to harm whoever reads them, each a few kilobytes."""

from __future__ import annotations

import io
import zipfile
import zlib

import docx

MEBIBYTE = 1024 * 1024
_MAIN = "word/document.xml"


def _plain_docx() -> bytes:
    document = docx.Document()
    document.add_paragraph("The A1 interface carries policies.")
    saved = io.BytesIO()
    document.save(saved)
    return saved.getvalue()


def docx_with(parts: dict[str, bytes]) -> bytes:
    """A DOCX with parts exchanged or added."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(_plain_docx())) as plain, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as out:
        for name in plain.namelist():
            if name not in parts:
                out.writestr(name, plain.read(name))
        for name, data in parts.items():
            out.writestr(name, data)
    return made.getvalue()


def docx_body(body: bytes, doctype: bytes = b"") -> bytes:
    """A DOCX with this inside its body."""
    space = b"http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    head = b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>' + doctype
    return docx_with(
        {_MAIN: head + b'<w:document xmlns:w="' + space + b'"><w:body>' + body + b"</w:body></w:document>"}
    )


def docx_that_lies() -> bytes:
    """The central directory says 100 bytes of the main part, the stream holds 64 MiB."""
    data = bytearray(docx_with({_MAIN: b"<a>" + b" " * (64 * MEBIBYTE) + b"</a>"}))
    # The central directory's entry: signature, then at byte 24 the unpacked size, at 46 the name.
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(_MAIN.encode()))
    data[at + 24 : at + 28] = (100).to_bytes(4, "little")
    return bytes(data)


def docx_of_entries(count: int) -> bytes:
    """An archive of so many empty files."""
    made = io.BytesIO(_plain_docx())
    with zipfile.ZipFile(made, "a") as out:
        for number in range(count):
            out.writestr(f"word/media/{number}", b"")
    return made.getvalue()


def pdf(objects: dict[int, bytes], trailer: bytes = b"") -> bytes:
    """A PDF of these numbered objects, 1 the catalogue; its cross-reference table is right."""
    data, places = bytearray(b"%PDF-1.7\n"), {}
    for number, content in objects.items():
        places[number] = len(data)
        data += b"%d 0 obj\n" % number + content + b"\nendobj\n"
    start = len(data)
    data += b"xref\n0 1\n0000000000 65535 f \n"
    for number, place in places.items():
        data += b"%d 1\n%010d 00000 n \n" % (number, place)
    size = max(objects) + 1
    data += b"trailer\n<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer, start)
    return bytes(data)


def pdf_page(content: bytes, extra: bytes = b"") -> bytes:
    """A PDF of one page with this content stream object, and this in its page dictionary."""
    return pdf(
        {
            1: b"<</Type/Catalog/Pages 2 0 R>>",
            2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>%s>>" % extra,
            4: content,
            5: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        }
    )


def stream(data: bytes, filters: bytes = b"") -> bytes:
    """A stream object."""
    return b"<</Length %d%s>>\nstream\n%s\nendstream" % (len(data), filters, data)


def pdf_bomb() -> bytes:
    """One page whose stream unpacks twice, to 256 MiB of blanks."""
    packer = zlib.compressobj(1)
    once = b"".join(packer.compress(b" " * (16 * MEBIBYTE)) for _ in range(16)) + packer.flush()
    return pdf_page(stream(zlib.compress(once), b"/Filter[/FlateDecode/FlateDecode]"))


def pdf_page_loop() -> bytes:
    """A page tree that holds itself."""
    return pdf(
        {
            1: b"<</Type/Catalog/Pages 2 0 R>>",
            2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            3: b"<</Type/Pages/Parent 2 0 R/Kids[2 0 R]/Count 1>>",
        }
    )


def pdf_reference_loop() -> bytes:
    """A page whose contents are a reference to a reference to itself."""
    return pdf(
        {
            1: b"<</Type/Catalog/Pages 2 0 R>>",
            2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>",
            4: b"5 0 R",
            5: b"4 0 R",
        }
    )


def pdf_previous_loop() -> bytes:
    """A cross-reference table that names itself as the one before it."""
    made = pdf({1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Type/Pages/Kids[]/Count 0>>"}, b"/Prev 0000000000")
    start = made.rindex(b"xref\n0 1")
    return made.replace(b"/Prev 0000000000", b"/Prev %010d" % start)
