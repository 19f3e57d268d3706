"""The settings of a training in a file of TOML, for trainings that are run again: `--config`.

```toml
set = [["corpus.jsonl", "questions.jsonl"]]
out = "my-reader"
epochs = 6
learning_rate = 3e-4
```

A key is an option of the command without its dashes, or a field of the training's configuration,
as the card of what was trained has it. `--write-config` writes such a file of a run.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import typer

from hoptrail.cli.command import settings_of
from hoptrail.cli.options import option, path_option, whole_argument
from hoptrail.errors import ConfigError

Config = TypeVar("Config")

HEADER = "# Settings of `hoptrail"
"""How every file that is written here begins, so that no other one is replaced."""
NO_SETTINGS = frozenset({"help", "config", "write-config", "resume", "json", "show"})
"""Options that say how a run is carried out; a file may not set them."""
LISTED = ("NAMES", "M,M…")
"""How help shows options of several values with commas between, which may be a list in a file."""
_STATE = "hoptrail.settings_file"


@dataclass
class _FileState:
    """What is known of a command's settings while it runs.

    Attributes:
        file: What `--config` names, if anything.
        rest: What the file sets that is no option, by its name there; None once it was used.
        config: The configuration of the training, where it has one.
        derived: Fields that the command derives from options of other names, or has of its own.
    """

    file: Path | None = None
    rest: dict[str, Any] | None = None
    config: Any = None
    derived: frozenset[str] = field(default_factory=frozenset)


def read_settings_file(context: typer.Context, file: Path | None) -> None:
    """Let what a file says be the defaults of a command's options, and keep the rest of it.

    Args:
        context: The command's, whose other options are not read yet.
        file: What `--config` names, if anything.

    Raises:
        ConfigError: The file cannot be read, or holds what an option does not take.
    """
    if file is None:
        return
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # of TOML, of UTF-8
        raise ConfigError(f"the settings in {file} cannot be read: {error}") from error
    params = _params(context)
    values: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in table.items():
        param = params.get(key.replace("_", "-"))
        name = param.name if param else key.replace("-", "_")
        if name in values or name in rest:
            raise ConfigError(f"{file} sets {key!r} twice, under two names of it")
        if param is None:
            rest[name] = value
        else:
            values[name] = _option_value(context, file, key, value, param)
    context.default_map = {**(context.default_map or {}), **values}
    context.meta[_STATE] = _FileState(file, rest)


def training_config(
    context: typer.Context,
    config_class: type[Config],
    options: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> Config:
    """A training's configuration: options, then what the file of `--config` says, then defaults.

    Args:
        context: The command's.
        config_class: A dataclass.
        options: Values by the names of its fields; None for one that was left out.
        defaults: Values that go before the dataclass's own defaults.

    Raises:
        ConfigError: The file sets what there is not, or a field to what it cannot be.
    """
    state = context.meta.setdefault(_STATE, _FileState())
    option_values = settings_of(options)
    names = {param.name for param in context.command.params}
    state.derived = frozenset(option_values) - names
    rest, state.rest = state.rest or {}, None
    hints = get_type_hints(config_class)
    free = [one.name for one in fields(config_class) if one.name not in state.derived]  # type: ignore[arg-type]
    for name in rest:
        if name in state.derived:
            raise ConfigError(
                f"{state.file} sets {name!r}, which the command or another option of it sets: "
                "leave it out"
            )
        if name not in free:
            alternatives = {
                *_params(context, typed_only=True),
                *(one for one in free if one not in names),
            }
            raise ConfigError(
                f"{state.file} sets {name!r}: it may set {', '.join(sorted(alternatives))}"
            )
    values = {
        name: _field_value(f"{state.file}: {name}", value, hints[name])
        for name, value in rest.items()
    }
    state.config = config_class(**{**(defaults or {}), **values, **option_values})
    return state.config  # type: ignore[no-any-return]


def settle_settings(context: typer.Context, *, write: bool) -> None:
    """Refuse what a file sets and nothing takes, and write the settings where they are asked for.

    Args:
        context: The command's, once its configuration is made.
        write: Whether this is the process that writes.

    Raises:
        ConfigError: The file of `--config` sets what the command does not have.
        FormatError: The file cannot be written, or another one is there.
    """
    state = context.meta.get(_STATE, _FileState())
    for name in state.rest or {}:
        alternatives = ", ".join(sorted(_params(context, typed_only=True)))
        raise ConfigError(f"{state.file} sets {name!r}: it may set {alternatives}")
    if write and (out := context.params.get("settings_out")):
        _write(out, f"{HEADER} {context.command_path.partition(' ')[2]}`.", _settings(context))


def _params(context: typer.Context, *, typed_only: bool = False) -> dict[str, Any]:
    """Options that a file may set, by the names that they may have there.

    Args:
        context: The command's.
        typed_only: Only the names that are typed.
    """
    named: dict[str, Any] = {}
    for param in context.command.params:
        typed = [name.removeprefix("--") for name in param.opts if name.startswith("--")]
        if not typed:  # an argument
            typed = [str(param.name)] if param.param_type_name == "argument" else []
        if NO_SETTINGS.isdisjoint(typed):
            named |= dict.fromkeys(typed, param)
            if not typed_only:
                named.setdefault(str(param.name).replace("_", "-"), param)
    return named


def _option_value(context: typer.Context, file: Path, key: str, value: Any, param: Any) -> Any:
    """The value of an option as the command line would have it."""
    if getattr(param, "is_flag", False):
        if not isinstance(value, bool):
            raise ConfigError(f"{file}: {key} must be true or false, got {value!r}")
        return value
    pairs = not getattr(type(context.command), "pairs", frozenset()).isdisjoint(param.opts)
    if pairs and not _is_pairs(value):
        raise ConfigError(f"{file}: {key} must be pairs, [[{param.metavar}], …], got {value!r}")
    if pairs:
        value = [part for pair in value for part in pair]
    spelled = param.metavar == "JSON" or param.name == "namespace"
    if spelled and isinstance(value, dict | list):
        value = json.dumps(value)
    elif param.metavar in LISTED and isinstance(value, list):
        value = ",".join(map(str, value))
    several = bool(getattr(param, "multiple", False)) or param.nargs == -1
    parts = value if several and isinstance(value, list) else [value]
    if not all(type(part) in (str, int, float) for part in parts):
        kind = "texts or numbers" if several else "a text or a number"
        raise ConfigError(f"{file}: {key} must be {kind}, got {value!r}")
    texts = [str(part) for part in parts]
    try:
        param.process_value(context, texts if several else texts[0])
    except typer.BadParameter as error:
        raise ConfigError(f"{file}: {key}: {error.message}") from error
    return texts if several else texts[0]


def _is_pairs(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
        for pair in value
    )


def _field_value(where: str, value: Any, hint: Any) -> Any:
    """A value of TOML as the type of a field has it."""
    if is_dataclass(hint) and isinstance(value, dict):
        return _nested_value(where, value, hint)
    kinds = list(_alternatives(hint))
    for kind in kinds:
        if get_origin(kind) is Literal:
            if isinstance(value, str) and value in get_args(kind):
                return value
        elif get_origin(kind) is tuple:
            if isinstance(value, list) and all(type(one) is get_args(kind)[0] for one in value):
                return tuple(value)
        elif type(value) is kind:
            return value
        elif kind is float and type(value) is int:
            return float(value)
    choices = " or ".join(name for kind in kinds for name in _type_names(kind))
    raise ConfigError(f"{where} must be {choices}, got {value!r}")


def _nested_value(where: str, table: Mapping[str, Any], config_class: Any) -> Any:
    """A table of TOML as a field that is a configuration of its own."""
    hints = get_type_hints(config_class)
    for name in table:
        if name not in hints:
            raise ConfigError(f"{where} sets {name!r}: it may set {', '.join(sorted(hints))}")
    return config_class(
        **{name: _field_value(f"{where}.{name}", one, hints[name]) for name, one in table.items()}
    )


def _alternatives(hint: Any) -> Iterator[Any]:
    """The types that a value may have, without None, which TOML does not have."""
    if get_origin(hint) in (Union, UnionType):
        for part in get_args(hint):
            yield from _alternatives(part)
    elif hint is not type(None):
        yield hint


def _type_names(kind: Any) -> list[str]:
    """A type of a field in words."""
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if get_origin(kind) is Literal:
        return [repr(one) for one in get_args(kind)]
    if get_origin(kind) is tuple:
        return ["a list of whole numbers"]
    return [words.get(kind, "a table")]


def _settings(context: typer.Context) -> dict[str, Any]:
    """What a run is set to, by the names that a file has for it."""
    state: _FileState = context.meta.get(_STATE, _FileState())
    config = {} if state.config is None else _plain_fields(state.config)
    values: dict[str, Any] = {}
    for name, param in _params(context, typed_only=True).items():
        value = context.params.get(param.name)
        if value is None and param.name not in state.derived:
            value = config.get(param.name)
        config.pop(str(param.name), None)
        if isinstance(value, list) and not {f"--{name}"}.isdisjoint(
            getattr(type(context.command), "pairs", ())
        ):
            value = [list(pair) for pair in zip(value[::2], value[1::2], strict=True)]
        if value not in (None, "", [], ()):
            values[name] = value
    rest = {name: one for name, one in config.items() if name not in state.derived}
    return {**values, **{name: one for name, one in rest.items() if one is not None}}


def _plain_fields(config: Any) -> dict[str, Any]:
    """The fields of a configuration that TOML has a value for."""
    return {name: value for name, value in asdict(config).items() if not callable(value)}


def _write(out: Path, header: str, settings: Mapping[str, Any]) -> None:
    """Write a file of settings."""
    from hoptrail.errors import FormatError
    from hoptrail.outputs import output_files

    target = output_files.output_path(out)
    tables = {name: value for name, value in settings.items() if isinstance(value, dict)}
    lines = [f"{name} = {_toml(one)}" for name, one in settings.items() if name not in tables]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_toml(one)}" for key, one in table.items())]
    try:
        if target.exists() and not target.read_bytes().startswith(HEADER.encode()):
            raise FormatError(f"{out} is there already and holds no settings: choose another name")
        with output_files.scratch(target) as part:
            part.write_text("\n".join([header, "", *lines, ""]), encoding="utf-8")
            os.replace(part, target)
    except OSError as error:
        raise FormatError(f"{out} cannot be written: {error.strerror or error}") from error


def _toml(value: Any) -> str:
    """A value as TOML spells it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(str(value)).replace("\x7f", "\\u007f")


StopAfterOption = Annotated[
    int | None,
    option(
        "--stop-after",
        parser=whole_argument,
        metavar="N",
        help="end after N passes without a better loss on what is held out, with the best weights",
    ),
]
SettingsFileOption = Annotated[
    Path | None,
    path_option(
        "--config",
        metavar="FILE.toml",
        help="take settings from a file: options by their names without dashes, and whatever else "
        "the training's configuration has; those that are typed go before it",
        is_eager=True,
        callback=read_settings_file,
    ),
]
WriteSettingsOption = Annotated[
    Path | None,
    path_option(
        "--write-config",
        metavar="FILE.toml",
        help="write the settings of this run to a file that --config takes",
    ),
]
