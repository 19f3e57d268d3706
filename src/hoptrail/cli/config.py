"""A user's settings: a small file of defaults for the commands that open a memory.

```toml
store = "~/notes/agent.db"
namespace = "team/ann"
effort = "fast"
```

An option on the command line goes before the environment, the environment before the file.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from hoptrail.errors import ConfigError
from hoptrail.values.server_urls import names_server

SETTINGS = {
    "store": "the memory's file, or the URL of a server",
    "namespace": "the namespace",
    "encoder": "the encoder",
    "policy": "the policy's folder",
    "effort": "what a recall may cost",
}
"""What the file may set, and what it is."""
PATHS = ("store", "policy")
"""Settings that are paths, in which ~ is the home folder."""
ENVIRONMENT = {"store": "HOPTRAIL_STORE"}
"""Settings that a variable of the environment goes before."""


def config_file() -> Path:
    """Where the file lies, whether it is there or not: `HOPTRAIL_CONFIG`, or the system's place."""
    named = os.environ.get("HOPTRAIL_CONFIG")
    if named:
        return Path(named)
    from platformdirs import user_config_path

    return user_config_path("hoptrail", appauthor=False) / "config.toml"


def load_settings() -> dict[str, str]:
    """What the file says; nothing where there is none.

    Raises:
        ConfigError: It cannot be read, or holds what it may not.
    """
    file = config_file()
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:  # of TOML, of UTF-8, of a path with a null character
        raise ConfigError(f"the settings in {file} cannot be read: {error}") from error
    settings: dict[str, str] = {}
    for name, value in table.items():
        if name not in SETTINGS:
            raise ConfigError(f"{file} sets {name!r}: it may set {', '.join(SETTINGS)}")
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{file}: {name} must be a text in quotes, got {value!r}")
        is_path = name in PATHS and not names_server(value)
        settings[name] = str(Path(value).expanduser()) if is_path else value
    return settings


def settings_and_sources() -> dict[str, tuple[str | None, str]]:
    """Each setting as it applies, and where it is from.

    Raises:
        ConfigError: As for `load_settings`.
    """
    settings = load_settings()
    rows: dict[str, tuple[str | None, str]] = {}
    for name in SETTINGS:
        variable = ENVIRONMENT.get(name, "")
        if variable and os.environ.get(variable):
            rows[name] = (os.environ[variable], variable)
        elif name in settings:
            rows[name] = (settings[name], str(config_file()))
        else:
            rows[name] = (None, "default")
    return rows
