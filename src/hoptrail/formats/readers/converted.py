"""PDF, Word and HTML as Markdown, by MarkItDown of the extra `hoptrail[documents]`.

It runs here and asks nobody: no plugin of it, no model and no network.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from hoptrail.errors import FormatError, MissingExtra
from hoptrail.formats.readers.files import read_bytes
from hoptrail.formats.readers.registry import FileContent
from hoptrail.formats.text_files import MAX_MARKDOWN

if TYPE_CHECKING:
    from markitdown import MarkItDown


def read_converted(path: Path) -> FileContent:
    """The text of a PDF, a Word document or a page, with its headings, lists and tables.

    Raises:
        FormatError: It is none, is locked, or holds no text, as a scan does.
        MissingExtra: The extra `documents` is not installed.
    """
    raw = read_bytes(path)
    converter = _converter()
    from markitdown import StreamInfo

    suffix = path.suffix.lower()
    try:
        with _silence():
            text = converter.convert_stream(
                BytesIO(raw),
                stream_info=StreamInfo(extension=".html" if suffix == ".htm" else suffix),
            ).markdown
    except Exception as error:  # of any of the libraries below it
        *_, reason = [type(error).__name__, *filter(None, map(str.strip, str(error).splitlines()))]
        raise FormatError(f"{path} cannot be converted: {reason}") from error
    text = text.replace("\0", "")
    if not text.strip():
        raise FormatError(f"{path} holds no text; a scan needs to be recognised first")
    if len(text) > MAX_MARKDOWN:
        raise FormatError(
            f"{path} has more than {MAX_MARKDOWN:,} characters, the most that is read of such a "
            "file: divide it"
        )
    return FileContent(text)


@cache
def _converter() -> MarkItDown:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it imports
            from markitdown import MarkItDown
            from markitdown.converters import DocxConverter, HtmlConverter, PdfConverter
    except ModuleNotFoundError as error:
        raise MissingExtra("PDF, Word and HTML need a converter", "documents") from error
    # Only these: with all, a broken PDF would be taken for plain text.
    converter = MarkItDown(enable_plugins=False, enable_builtins=False)
    for kind in (PdfConverter, DocxConverter, HtmlConverter):
        converter.register_converter(kind())
    return converter


@contextmanager
def _silence() -> Iterator[None]:
    """Without what the converter's libraries say of odd files; what cannot be read is raised."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
