"""The files of a folder that can be read, and what in it cannot, by name.

A document is known by its real path, whatever the folder is called on the way to it: a file that
is given twice, from another working folder or over a link, is the same document.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from hoptrail.errors import FormatError, MissingExtra
from hoptrail.formats.documents import Document, Skipped, Sources
from hoptrail.formats.readers.registry import file_readers, read_content
from hoptrail.formats.text_files import TEXT_SUFFIXES, irregular, read_text

INSTALLED = ("node_modules", "__pycache__", "site-packages")
"""Folders of what others wrote and a program put there."""

_KINDS = f"{', '.join(TEXT_SUFFIXES[:-1])} or {TEXT_SUFFIXES[-1]}"


def read_file(path: str | Path) -> Sources:
    """A single text or Markdown file, or one that a reader takes, as a document.

    Raises:
        FormatError: It is none, or cannot be read.
        MissingExtra: Its reader needs a library that is not there.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (*TEXT_SUFFIXES, *file_readers()):
        if not os.path.lexists(path):
            raise FormatError(f"{path} does not exist")
        raise FormatError(
            f"{path} is a {suffix or 'nameless'} file: give a folder of text and Markdown, "
            f"a {_KINDS} file, or a corpus as .jsonl"
        )
    real = _real(path)
    document = _document(path, path.name, real.as_posix(), real.parent.as_posix())
    return Sources((document,), read=(str(path),))


def read_folder(path: str | Path, *, empty: bool = False) -> Sources:
    """A folder's files of all kinds that are read, in their paths' order, and what was skipped.

    Hidden files, those of other kinds, pipes, devices and links that lead out of the folder are
    skipped by name, and so is what its reader cannot read, with the reason. Text and Markdown that
    cannot be read is an error: a memory that is silently short gives answers that are silently
    wrong.

    Args:
        path: The folder.
        empty: Take one that holds no such file, rather than refuse it.

    Raises:
        FormatError: The folder or a file in it cannot be read, or it holds no such file.
    """
    root = Path(path)
    if not root.is_dir():
        raise FormatError(f"{root} is not a folder" if root.exists() else f"{root} does not exist")
    real = _real(root)
    listing = _Listing(real)
    listing.walk()
    if not listing.files and not empty:
        kinds = ", ".join((*TEXT_SUFFIXES, *sorted(file_readers())))
        raise FormatError(f"{root} holds no file of a kind that is read: {kinds}")
    documents, unread = [], []
    for relative, file in sorted(listing.files.items()):
        named_path = root / relative  # in messages as it was given
        try:
            documents.append(_document(named_path, relative, file.as_posix(), real.as_posix()))
        except (FormatError, MissingExtra) as error:
            if named_path.suffix.lower() in TEXT_SUFFIXES:
                raise
            why = str(error).removeprefix(str(named_path)).lstrip(": ,")
            listing.skipped.append(Skipped(relative, why))
            unread.append(file.as_posix())
    return Sources(
        tuple(documents),
        skipped=tuple(sorted(listing.skipped, key=lambda one: one.path)),
        folders=(f"{real.as_posix().rstrip('/')}/",),
        read=tuple(str(root / document.path) for document in documents),
        unread=tuple(unread),
    )


def _document(path: Path, relative: str, name: str, folder: str) -> Document:
    if path.suffix.lower() in TEXT_SUFFIXES:
        return Document(relative, read_text(path), name, folder)
    content = read_content(path)
    return Document(
        relative,
        content.text or "",
        name,
        folder,
        syntax=content.syntax,
        records=content.records,
        remarks=content.remarks,
    )


def _real(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise FormatError(f"{path} cannot be read: {error}") from error


@dataclass(slots=True)
class _Listing:
    """What a folder holds."""

    root: Path
    """Its real path."""
    files: dict[str, Path] = field(default_factory=dict)
    """The real paths of what is to be read, by path in the folder."""
    skipped: list[Skipped] = field(default_factory=list)

    def walk(self) -> None:
        """Look through the folder; links to folders are not followed.

        Raises:
            FormatError: A folder cannot be listed.
        """

        def unreadable(error: OSError) -> None:
            raise FormatError(f"{error.filename} cannot be read: {error.strerror}") from error

        links: list[tuple[str, Path]] = []
        for folder, folders, names in os.walk(self.root, onerror=unreadable):
            folders_to_read = []
            for name in sorted([*folders, *names]):
                path = Path(folder, name)
                relative = path.relative_to(self.root).as_posix()
                why = self._refused(name, path, is_folder=name in folders)
                if why:
                    self.skipped.append(Skipped(_printable(relative), why))
                elif path.is_symlink():
                    links.append((relative, path))
                elif name in folders:
                    folders_to_read.append(name)
                else:
                    self.files[relative] = path
            folders[:] = folders_to_read
        self._follow(links)

    def _refused(self, name: str, path: Path, *, is_folder: bool) -> str:
        """Why something is not read, by its name and kind; empty if it is."""
        if name.startswith("."):
            return "hidden"
        if name in INSTALLED and is_folder:
            return "a folder of installed packages"
        if name != _printable(name):
            return "its name is not UTF-8"
        if path.is_symlink():
            return self._led_astray(path)
        if is_folder:
            return ""
        return _unsuitable(name, path)

    def _led_astray(self, link: Path) -> str:
        """Why a link is not followed."""
        try:
            target = link.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            missing = isinstance(error, FileNotFoundError)
            return "a link that leads nowhere" if missing else "a link that leads to itself"
        if not target.is_relative_to(self.root):
            return "a link that leads out of the folder"
        if target.is_dir():
            return "a link to a folder"
        return _unsuitable(link.name, target)

    def _follow(self, links: list[tuple[str, Path]]) -> None:
        """Take links to files of the folder that are not read under their own names."""
        places = {path: relative for relative, path in self.files.items()}
        for relative, link in links:
            target = link.resolve()
            if target in places:
                self.skipped.append(Skipped(relative, f"a link to {places[target]}"))
            else:
                places[target] = relative
                self.files[relative] = target


def _unsuitable(name: str, path: Path) -> str:
    """Why a file is not read; empty if it is."""
    try:
        kind = irregular(path.stat().st_mode)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if kind:
        return kind
    suffix = Path(name).suffix.lower()
    if suffix == ".jsonl":
        return "a .jsonl file: a corpus is given by its own path"
    if suffix not in (*TEXT_SUFFIXES, *file_readers()):
        return f"a {suffix} file" if suffix else "a file without a suffix"
    return ""


def _printable(name: str) -> str:
    """A name with what is not UTF-8 in it as question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")
