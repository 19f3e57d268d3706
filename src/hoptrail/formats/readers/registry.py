"""Which reader takes a file: those that come with hoptrail, and those that other packages bring.

A package brings a reader by an entry point of the group `hoptrail.readers` that leads to a
`FileReader`. It goes before ours of the same suffix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal

from hoptrail.errors import ConfigError, FormatError
from hoptrail.types import Passage

ENTRY_POINTS = "hoptrail.readers"


@dataclass(frozen=True, slots=True)
class FileContent:
    """What a file holds, as a reader found it: a text that is to be cut, or passages."""

    text: str | None = None
    """The whole of it; None where it is made of records."""
    syntax: Literal["markdown", "plain"] = "markdown"
    """How the text is written."""
    records: tuple[Passage, ...] = ()
    """Parts that are passages already: turns, rows, works. Their ids are names within the file, to
    which links lead; a memory gives them ids that nobody else has."""
    remarks: tuple[str, ...] = ()
    """What of it was left out, and why, a sentence each."""


@dataclass(frozen=True, slots=True)
class FileReader:
    """Reads the files of one kind."""

    kind: str
    """What they are, for people: "a notebook"."""
    suffixes: tuple[str, ...]
    """Of their names, each with its dot, in lower case."""
    read: Callable[[Path], FileContent]
    """Raises `FormatError` for a file that is not of this kind, or cannot be read, and
    `MissingExtra` where a library is needed that is not there."""


_CODE = (
    ".c .cc .cpp .cs .css .go .h .hpp .java .js .jsx .jl .kt .lua .php .pl .proto .r .rb .rs "
    ".scala .sh .sql .swift .ts .tsx"
)
_OURS: tuple[tuple[str, str, str, str], ...] = (
    ("a document to convert", ".pdf .docx .html .htm", "converted", "read_converted"),
    ("a table", ".csv .tsv", "csv_tables", "read_csv_table"),
    ("a chat log or works of OpenAlex", ".json", "json_files", "read_json_file"),
    ("a bibliography", ".bib", "bibliographies", "read_bibliography"),
    ("a graph", ".graphml", "graph_files", "read_graph_file"),
    ("a notebook", ".ipynb", "notebooks", "read_notebook"),
    ("a program in Python", ".py .pyi", "source_code", "read_python"),
    ("a program", _CODE, "source_code", "read_source_code"),
)
"""The kinds, their suffixes, and the module here and the function that reads them; each module is
imported when a file of its kind is read."""


@cache
def file_readers() -> dict[str, FileReader]:
    """The reader for each suffix.

    Raises:
        ConfigError: Another package's entry point cannot be loaded, or is no reader.
    """
    readers: dict[str, FileReader] = {}
    for kind, suffixes, module, function in _OURS:
        reader = FileReader(kind, tuple(suffixes.split()), _imported_when_used(module, function))
        readers.update(dict.fromkeys(reader.suffixes, reader))
    for reader in _installed_readers():
        readers.update(dict.fromkeys(reader.suffixes, reader))
    return readers


def read_content(path: Path) -> FileContent:
    """What a file holds that some reader takes.

    Args:
        path: With one of the suffixes of `file_readers`.

    Raises:
        FormatError: It is not what its suffix says, or cannot be read.
        MissingExtra: A library is needed that is not there.
    """
    content = file_readers()[path.suffix.lower()].read(path)
    if not isinstance(content, FileContent):
        raise FormatError(f"{path}: its reader gave {type(content).__name__}, not FileContent")
    return content


def _imported_when_used(module: str, function: str) -> Callable[[Path], FileContent]:
    def read(path: Path) -> FileContent:
        reader = getattr(import_module(f".{module}", __package__), function)
        content: FileContent = reader(path)
        return content

    return read


def _installed_readers() -> Iterator[FileReader]:
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            reader = entry.load()
        except Exception as error:
            raise ConfigError(f"the reader {entry.value!r} cannot be loaded: {error}") from error
        if not isinstance(reader, FileReader):
            raise ConfigError(f"the entry point {entry.value!r} is no FileReader")
        yield reader
