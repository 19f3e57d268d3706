"""What the files of an encoder's folder say: pooling, length and more, and whose they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hoptrail.errors import FormatError

MODULES = ("Transformer", "Pooling", "Normalize")
"""The modules of a model that `TransformerEncoder` runs."""

POOLINGS = {"mean_tokens": "mean", "cls_token": "cls"}
"""What the older files call poolings."""

DEFAULT_LENGTH = 256
"""Tokens of a pass where no file of sentence-transformers says."""


def unsupported(folder: Path) -> str | None:
    """What a folder asks for and `TransformerEncoder` does not do, as a sentence; None if nothing.

    Args:
        folder: Of a model.

    Raises:
        FormatError: A file of it cannot be read.
    """
    return next(_complaints(folder), None)


def pooling(folder: Path) -> str:
    """How token vectors become one: `mean` or `cls`; `mean` where nothing is said.

    Args:
        folder: Of a model; `unsupported` knows nothing against it.

    Raises:
        FormatError: A file of it cannot be read.
    """
    modes = _modes(_settings(folder / _pooling_path(folder) / "config.json"))
    return modes[0] if modes else "mean"


def max_length(folder: Path, positions: int, tokenizer_limit: int) -> int:
    """The longest input in tokens, at most the model's number of positions.

    Args:
        folder: Of a model.
        positions: That the network has.
        tokenizer_limit: What its tokeniser takes for the longest; that counts in files of
            sentence-transformers that name none.

    Raises:
        FormatError: A file of it cannot be read.
    """
    file = folder / "sentence_bert_config.json"
    if not file.is_file():
        return min(DEFAULT_LENGTH, positions)
    length = _settings(file).get("max_seq_length")
    return min(length if isinstance(length, int) else tokenizer_limit, positions)


def _complaints(folder: Path) -> Iterator[str]:
    for module in _modules(folder):
        kind = str(module["type"] if isinstance(module, dict) else module).rsplit(".", 1)[-1]
        if kind not in MODULES:
            yield f"{folder / 'modules.json'} has a module {kind!r}, which is not supported"
    file = folder / _pooling_path(folder) / "config.json"
    modes = _modes(_settings(file))
    if len(modes) > 1 or not set(modes) <= set(POOLINGS.values()):
        yield f"{file} asks for a pooling that is neither mean nor cls: {', '.join(modes)}"
    file = folder / "config_sentence_transformers.json"
    settings = _settings(file)
    prompts = {name: text for name, text in (settings.get("prompts") or {}).items() if text}
    if prompts:
        yield f"{file} has prompts, which are not supported: {', '.join(sorted(prompts))}"
    width = settings.get("truncate_dim")
    if width is not None:
        yield f"{file} asks for a truncate_dim of {width}, which is not supported"
    if settings.get("similarity_fn_name") in ("euclidean", "manhattan"):
        yield f"{file} asks for {settings['similarity_fn_name']} similarity, where cosine is used"
    file = folder / "sentence_bert_config.json"
    if _settings(file).get("do_lower_case"):
        yield f"{file} asks for do_lower_case, which is not supported"


def _modules(folder: Path) -> list[Any]:
    file = folder / "modules.json"
    modules: list[Any] = _json_of(file, list) if file.is_file() else []
    return modules


def _pooling_path(folder: Path) -> str:
    """The folder of the pooling's settings."""
    for module in _modules(folder):
        if isinstance(module, dict) and str(module.get("type")).endswith("Pooling"):
            return str(module.get("path", "1_Pooling"))
    return "1_Pooling"


def _modes(settings: dict[str, Any]) -> list[str]:
    """The poolings that are asked for, in either way to write them."""
    modes = settings.get("pooling_mode")
    if modes is not None:
        return [modes] if isinstance(modes, str) else [str(mode) for mode in modes]
    names = [key for key, value in settings.items() if key.startswith("pooling_mode_") and value]
    short = [name.removeprefix("pooling_mode_") for name in names]
    return [POOLINGS.get(name, name) for name in short]


def _settings(file: Path) -> dict[str, Any]:
    """What a file says that need not be there."""
    settings: dict[str, Any] = _json_of(file, dict) if file.is_file() else {}
    return settings


def _json_of(file: Path, kind: type) -> Any:
    """What a file of a model's folder says.

    Raises:
        FormatError: It is no JSON of this kind.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, kind):
        raise FormatError(f"{file} should hold a JSON {kind.__name__}, got {content!r:.60}")
    return content


def check_own_folder(folder: Path, layout: str, names: Sequence[str], what: str) -> None:
    """Refuse a folder in which an encoder's files would replace those of somebody else's model.

    Args:
        folder: Where it is to be written; it need not be there.
        layout: The format that a card of ours names.
        names: Of the files, the card first.
        what: Whose files they are, for the message.

    Raises:
        FormatError: It holds such a file.
    """
    try:
        if json.loads((folder / names[0]).read_text(encoding="utf-8"))["format"] == layout:
            return  # one of ours: it is replaced
    except (OSError, ValueError, KeyError, TypeError):
        pass
    for name in names:
        if (folder / name).exists():
            raise FormatError(
                f"{folder / name} is there already and is no {what}'s: give another folder"
            )


def save_with_card(
    folder: Path,
    files: tuple[str, str],
    card: Mapping[str, Any],
    save_weights: Callable[[Path], None],
    what: str,
) -> Path:
    """Write a model's weights and then its card: a folder without a card holds no model yet.

    Args:
        folder: It is made where it is absent.
        files: The names of the card and of the weights.
        card: JSON values.
        save_weights: Writes the weights to a file.
        what: The model is, for the error.

    Returns:
        The folder.

    Raises:
        FormatError: It cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(folder / files[1])
        (folder / files[0]).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise FormatError(f"no {what} can be written to {folder}: {error}") from error
    return folder
