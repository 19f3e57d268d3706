"""Which files a result may replace: those that hoptrail wrote as the same kind of result.

A name that somebody mistypes, or a folder that already holds a project, must not cost them a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hoptrail.errors import FormatError
from hoptrail.outputs import output_files

_REPORTS = tuple(b'{\n "%s":' % key for key in (b"retrievers", b"questions", b"triples"))
"""How the reports of evaluate, stopping and evaluate --triples begin."""
_DRAWN = b"atplotlib"
"""What a picture that we drew names in its first or last bytes, whatever its format."""
_BARE = (b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"RIFF")
"""How pictures begin that have no room for that: JPEG, TIFF, WebP."""
_PAGE = b"<!doctype html>"
"""How every page begins."""
_MAKER = b'<meta name="generator" content="hoptrail">'
"""What a page of ours has in its head."""
_LOOKED_AT = 8192


def check_report(file: Path, *, inputs: Iterable[Path] = ()) -> None:
    """Refuse to write a report over what is no report, or over what it is made from.

    Raises:
        FormatError: The file may not be written.
    """
    _check_inputs(output_files.output_path(file), file, inputs)
    begins, _ = _ends(file)
    if begins and not begins.startswith(_REPORTS):
        raise FormatError(f"{file} is there already and is no report: choose another name")


def check_picture(file: Path, *, inputs: Iterable[Path] = ()) -> None:
    """Refuse to draw a picture over what is no picture of ours, or over what it shows.

    Raises:
        FormatError: The file may not be written.
    """
    _check_inputs(output_files.output_path(file), file, inputs)
    begins, ends = _ends(file)
    if begins and _DRAWN not in begins + ends and not begins.startswith(_BARE):
        raise FormatError(f"{file} is there already and was not drawn here: choose another name")


def check_page(file: Path, *, inputs: Iterable[Path] = ()) -> None:
    """Refuse to write a page over what is no page of ours, or over what it is made from.

    Raises:
        FormatError: The file may not be written.
    """
    _check_inputs(output_files.output_path(file), file, inputs)
    begins, _ = _ends(file)
    if begins and not (begins.startswith(_PAGE) and _MAKER in begins):
        raise FormatError(f"{file} is there already and is no page of ours: choose another name")


def check_copy(file: Path, source: Path) -> None:
    """Refuse to copy a file over one that differs from it.

    Raises:
        FormatError: The file may not be written.
    """
    output_files.output_path(file)
    begins, _ = _ends(file)
    if begins and (
        file.stat().st_size != source.stat().st_size or file.read_bytes() != source.read_bytes()
    ):
        raise FormatError(f"{file} is there already and holds something else: choose another place")


def _check_inputs(target: Path, file: Path, inputs: Iterable[Path]) -> None:
    for source in inputs:
        if target.exists() and source.exists() and target.samefile(source):
            raise FormatError(f"{file} cannot be written: it is what the result is made from")


def _ends(file: Path) -> tuple[bytes, bytes]:
    """The first and the last bytes of a file; nothing of one that is not there."""
    if not file.exists():
        return b"", b""
    try:
        with file.open("rb") as opened:
            begins = opened.read(_LOOKED_AT)
            opened.seek(max(0, file.stat().st_size - _LOOKED_AT))
            return begins, opened.read(_LOOKED_AT)
    except OSError as error:
        raise FormatError(f"{file} cannot be read: {error.strerror or error}") from error
