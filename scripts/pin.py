"""Write constraints.txt: the exact versions, in this environment, of what hoptrail[dev] needs."""

from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HEADER = """\
# The exact versions that the checks run with; written by `make pins`, used by `make install`.
# torch's local label (+cpu, +cu128) is left out, so that any build of that version fits.
"""


def closure(name: str, extras: frozenset[str]) -> dict[str, str]:
    """Name and version of each installed distribution that `name[extras]` leads to."""
    found: dict[str, str] = {}
    todo, seen = [(name, extras)], set()
    while todo:
        item = todo.pop()
        if item in seen:
            continue
        seen.add(item)
        package, wanted = item
        distribution = metadata.distribution(package)
        found[canonicalize_name(package)] = distribution.version.split("+")[0]
        for line in distribution.requires or []:
            need = Requirement(line)
            marker = need.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in wanted | {""}):
                todo.append((canonicalize_name(need.name), frozenset(need.extras)))
    found.pop(canonicalize_name(name))
    return found


if __name__ == "__main__":
    pins = closure("hoptrail", frozenset({"dev"}))
    lines = [f"{name}=={version}\n" for name, version in sorted(pins.items())]
    file = Path(__file__).resolve().parent.parent / "constraints.txt"
    file.write_text(HEADER + "".join(lines), encoding="utf-8")
