"""The folder of a policy: whether it may be written, so that nothing of somebody else's goes.

`--out .` in a project must not cost its README. A folder may hold anything beside a policy; but
under the names that a policy's files have there may only be a policy's files.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from hoptrail.errors import FormatError, PolicyError
from hoptrail.outputs import output_files
from hoptrail.outputs.hub import LIBRARY

HEADING = "# A hoptrail policy"
"""How every card begins, but for what a hub reads of it."""
_BY_METADATA = {
    "checkpoint.safetensors": "place",
    "relations.safetensors": "scorer",
    "reformulator.safetensors": "reformulator",
}
"""Files of tensors that say in their metadata what they are."""


def check_folder(folder: Path, *, card: bool = True) -> None:
    """Refuse a folder in which a policy's file would replace what is not one.

    Args:
        folder: Where it is to be written; it need not be there.
        card: Whether a README is to be written too.

    Raises:
        PolicyError: There is such a file, or the folder is none or belongs to a memory.
    """
    try:
        output_files.checked_folder(folder)
    except FormatError as error:
        raise PolicyError(str(error)) from error
    ours = {
        **({"README.md": _is_card} if card else {}),
        "policy.json": _are_settings,
        "policy.safetensors": _are_weights,
        **dict.fromkeys(_BY_METADATA, _is_named),
        "reader.safetensors": _is_beside_ours,
    }
    for name, check in ours.items():
        file = folder / name
        try:
            fine = not file.exists() or (file.is_file() and check(file))
        except (OSError, ValueError, SafetensorError):
            fine = False
        if not fine:
            raise PolicyError(
                f"{file} is there already and hoptrail did not write it, or it is damaged: "
                "give another folder, or remove it"
            )


def _is_card(file: Path) -> bool:
    with file.open(encoding="utf-8") as opened:
        first, second = (opened.readline(100).strip() for _ in range(2))
    return first in (HEADING, "") or (first, second) == ("---", f"library_name: {LIBRARY}")


def _are_settings(file: Path) -> bool:
    settings = json.loads(file.read_text(encoding="utf-8"))
    return (
        isinstance(settings, dict)
        and {"format", "features", "networks", "columns"} <= settings.keys()
    )


def _are_weights(file: Path) -> bool:
    with safe_open(file, framework="np") as opened:
        return all(name.startswith("members.") for name in opened.keys())  # noqa: SIM118


def _is_named(file: Path) -> bool:
    with safe_open(file, framework="np") as opened:
        return _BY_METADATA[file.name] in (opened.metadata() or {})


def _is_beside_ours(file: Path) -> bool:
    """Whether a file without a mark lies beside one of ours: the folder is a policy's."""
    settings, checkpoint = file.with_name("policy.json"), file.with_name("checkpoint.safetensors")
    return (settings.exists() and _are_settings(settings)) or (
        checkpoint.exists() and _is_named(checkpoint)
    )
