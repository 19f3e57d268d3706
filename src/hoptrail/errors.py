"""The exceptions that hoptrail raises: one small tree, so that one `except` is enough."""

from __future__ import annotations


class HoptrailError(Exception):
    """Whatever hoptrail raises on purpose; its text is one clear sentence."""


class InputError(HoptrailError, ValueError):
    """Something given by a caller cannot be used: an empty question, a wrong type, a bad range."""


class FormatError(InputError):
    """A file does not hold what it should; the message names the file and the line."""


class ConfigError(HoptrailError):
    """A setting is unknown, missing or outside its range: the program has to change, not the input.

    It is no `InputError`: whoever asks (a model that calls a tool) cannot mend it by asking better.
    """


class EncoderMissing(ConfigError):
    """An operation needs vectors and the memory has no encoder."""


class MissingExtra(HoptrailError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what}: install it with  pip install 'hoptrail[{extra}]'")


class HubError(HoptrailError):
    """A model hub does not hold what was asked for, refuses what was pushed, or is out of reach."""


class StoreError(HoptrailError):
    """The store cannot do what was asked; what it holds is unchanged."""


class StoreUnavailable(StoreError):
    """The store's file cannot be opened, read or written."""


class StoreBusy(StoreUnavailable):
    """Another thread or process writes to the store's file, for longer than was waited for it."""


class SchemaMismatch(StoreError):
    """The store's file was written by a version of hoptrail that this one cannot read."""


class DuplicateId(StoreError, ValueError):
    """A passage with this id is already in this namespace."""


class UnknownId(StoreError, KeyError):
    """No passage has this id in this namespace."""

    def __str__(self) -> str:
        """The sentence itself: `KeyError` would print it quoted."""
        return str(self.args[0])


class EncoderMismatch(StoreError):
    """The store's vectors were made by another encoder than the one given."""


class PolicyError(HoptrailError):
    """A policy's files are absent, damaged or made for another version."""


class ReaderError(HoptrailError):
    """There is no reader, its files are damaged, or its answer cites what it was not given."""
