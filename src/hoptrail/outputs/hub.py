"""Folders of trained models in repositories of a model hub: fetched by name, pushed with a card.

Whatever hoptrail trains is a folder of safetensors and JSON, which is what a repository holds. Only
such files travel: no pickle and no program is fetched or pushed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hoptrail.errors import HubError

PATTERNS = ("*.json", "*.safetensors", "*.md", "*.txt")
"""The files of a model that travel."""
README = "README.md"
LIBRARY = "hoptrail"
"""How a hub knows whose models these are."""


def front_matter(name: str, tags: Sequence[str], figures: Sequence[Mapping[str, Any]] = ()) -> str:
    """What a hub reads at the head of a card: YAML between two lines of dashes.

    Args:
        name: The model's.
        tags: What it is found by.
        figures: A mapping for each set it was measured on: its name as `questions`, and measures
            like `recall@5` by name; what is no number is passed over.

    Returns:
        The lines, the last of them empty.
    """
    import yaml

    fields: dict[str, Any] = {"library_name": LIBRARY, "tags": [LIBRARY, *tags]}
    results = [_result(row) for row in figures]
    if results:
        fields["model-index"] = [{"name": name, "results": results}]
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---\n\n"


def _result(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a model does on one set, as `model-index` has it."""
    name = str(row["questions"])
    return {
        "task": {"type": "text-retrieval", "name": "multi-hop retrieval"},
        "dataset": {"type": name, "name": name},
        "metrics": [
            {"type": key.replace("@", "_at_"), "name": key, "value": value}
            for key, value in row.items()
            if isinstance(value, float)
        ],
    }


def fetch_from_hub(
    name: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> Path:
    """The folder of a model, by its path or by its name on a hub.

    `Policy.load`, `ExtractiveReader.load`, `load_encoder` and `Memory(…, policy=)` take the folder.

    Args:
        name: A folder, which is returned as it is, or a repository, like `ann/ships`: it is
            fetched once and kept in the hub's cache.
        revision: A branch, a tag or a commit of the repository.
        token: For a private one; by default that of `hf auth login` or HF_TOKEN.
        endpoint: Another server that speaks the hub's protocol; by default HF_ENDPOINT.

    Raises:
        HubError: There is no such folder and no such repository, or the hub cannot be reached.
    """
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            str(name),
            revision=revision,
            token=token,
            endpoint=endpoint,
            allow_patterns=list(PATTERNS),
            library_name=LIBRARY,
        )
    except Exception as error:  # of the hub's client, of its HTTP library, of the system
        raise HubError(
            f"{str(name)!r} is no folder here, and no such repository could be fetched: "
            f"{_first_line(error)}"
        ) from error
    return Path(folder)


def push_to_hub(
    folder: str | Path,
    name: str,
    *,
    private: bool | None = None,
    message: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Write a trained model's folder to a repository of a hub, which is made where there is none.

    A folder without a README.md gets a card in the repository: what it is, and all that its own
    files say of how it was made.

    Args:
        folder: A policy's, a reader's or a tuned encoder's.
        name: The repository, like `ann/ships`.
        private: Whether a new repository is; by default as the account says.
        message: Of the commit.
        token: By default that of `hf auth login` or HF_TOKEN.
        endpoint: Another server that speaks the hub's protocol; by default HF_ENDPOINT.

    Returns:
        The address of the commit.

    Raises:
        HubError: The folder holds no model, or the hub cannot be reached or refuses it.
    """
    source = Path(folder)
    if not any(source.glob("*.safetensors")):
        raise HubError(f"{source} holds no trained model: there is no file of safetensors in it")
    from huggingface_hub import CommitOperationAdd, HfApi

    files = sorted({file for pattern in PATTERNS for file in source.glob(pattern)})
    with tempfile.TemporaryDirectory() as scratch:
        if source / README not in files:
            card = Path(scratch) / README
            card.write_text(_plain_card(source, name), encoding="utf-8")
            files.append(card)
        try:
            api = HfApi(endpoint=endpoint, token=token, library_name=LIBRARY)
            api.create_repo(name, private=private, exist_ok=True)
            commit = api.create_commit(
                name,
                [CommitOperationAdd(file.name, file) for file in files],
                commit_message=message or "Write a model that hoptrail trained",
            )
        except Exception as error:  # of the hub's client, of its HTTP library, of the system
            raise HubError(
                f"{source} could not be pushed to {name!r}: {_first_line(error)}"
            ) from error
    return str(commit.commit_url)


def _plain_card(folder: Path, name: str) -> str:
    """A card of what a folder's own files say."""
    about = {file.name: json.loads(file.read_text("utf-8")) for file in folder.glob("*.json")}
    spelled = json.dumps(about, indent=2, ensure_ascii=False)
    return (
        front_matter(name, ["retrieval"])
        + f"# {name}\n\nTrained by hoptrail; its files say:\n\n```json\n{spelled}\n```\n"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
