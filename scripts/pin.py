"""Write constraints.txt: the exact versions, in this environment, of what hoptrail[dev] needs."""

import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# The exact versions that the checks run with; written by `make pins`, used by `make install`.
# torch's local label (+cpu, +cu128) is left out, so that any build of that version fits.
"""


def needs(package: str, extras: frozenset[str]) -> Iterator[Requirement]:
    """What a package asks for here; hoptrail's own needs are read from pyproject.toml."""
    if package == "hoptrail":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        groups = [project["dependencies"]]
        groups += [project["optional-dependencies"][extra] for extra in sorted(extras)]
        yield from (Requirement(line) for group in groups for line in group)
        return
    for line in metadata.distribution(package).requires or []:
        need = Requirement(line)
        if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in {*extras, ""}):
            yield need


def closure(package: str, extras: frozenset[str]) -> dict[str, str]:
    """Name and version of every distribution that `package[extras]` leads to."""
    pins: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [(package, extras)]
    while todo:
        item = todo.pop()
        if item in seen:
            continue
        seen.add(item)
        pins[item[0]] = metadata.version(item[0]).split("+")[0]
        todo += [(canonicalize_name(n.name), frozenset(n.extras)) for n in needs(*item)]
    pins.pop(package)
    return pins


if __name__ == "__main__":
    pins = closure("hoptrail", frozenset({"dev"}))
    lines = [f"{name}=={version}\n" for name, version in sorted(pins.items())]
    (ROOT / "constraints.txt").write_text(HEADER + "".join(lines), encoding="utf-8")
