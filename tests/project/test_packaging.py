"""What is installed is what is here: the packages, every file of them, and nothing beside them."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import hoptrail

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]
NOT_PACKAGES = {"tests", "scripts", "benchmarks", "examples", "docs", "build", "dist", "src"} | {
    "scratch",
    "runs",
}


def packages() -> dict[str, Path]:
    """Every folder that holds code, by the name that it is imported under."""
    return {
        ".".join([root, *file.parent.relative_to(ROOT / folder).parts]): file.parent
        for root, folder in FOLDERS.items()
        for file in sorted((ROOT / folder).rglob("__init__.py"))
    }


def test_every_folder_with_code_is_a_package_that_is_listed() -> None:
    assert PROJECT["tool"]["setuptools"]["packages"] == list(packages())
    folders = {
        file.parent
        for top in ROOT.iterdir()
        if top.is_dir() and top.name not in NOT_PACKAGES and not top.name.startswith(".")
        for file in top.rglob("*.py")
    }
    folders |= {file.parent for file in (ROOT / "src" / "hoptrail").rglob("*.py")}
    assert folders == set(packages().values())


def test_the_version_is_the_project_s() -> None:
    assert hoptrail.__version__ == PROJECT["project"]["version"]
    assert f"version: {hoptrail.__version__}" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{hoptrail.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_dependencies_are_ranges_and_pins_are_constraints() -> None:
    project = PROJECT["project"]
    optional = [line for group in project["optional-dependencies"].values() for line in group]
    for line in [*project["dependencies"], *optional]:
        assert "==" not in line, f"{line}: an exact pin belongs in constraints.txt"
        assert line.startswith("hoptrail[") or re.search(r">=[\d.]+,<\d+$", line), line
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0] for line in lines if not line.startswith("#")}
    too_large = set(project["optional-dependencies"]["ray"])  # for whoever only wants to run checks
    installed = {*project["dependencies"], *optional} - too_large
    named = {re.split(r"[\[>]", line)[0].lower() for line in installed}
    assert named - {"hoptrail"} <= pinned, "run: make pins"


@pytest.mark.slow
def test_the_wheel_holds_every_file_and_only_hoptrail(tmp_path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names_in_wheel = set(zipfile.ZipFile(wheel).namelist())
    sources_named = {
        "/".join([*root.split("."), *file.relative_to(ROOT / folder).parts])
        for root, folder in FOLDERS.items()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith(".")
    }
    assert sources_named - names_in_wheel == set()
    assert "hoptrail/py.typed" in names_in_wheel
    tops = {name.split("/")[0] for name in names_in_wheel}
    assert tops == {"hoptrail", f"hoptrail-{hoptrail.__version__}.dist-info"}
    (top_level,) = (name for name in names_in_wheel if name.endswith("top_level.txt"))
    assert zipfile.ZipFile(wheel).read(top_level).decode().split() == ["hoptrail"]
    assert any(name.endswith("licenses/LICENSE") for name in names_in_wheel)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        within = {name.partition("/")[2] for name in archive.getnames()}
    sources = {
        file.relative_to(ROOT).as_posix()
        for folder in FOLDERS.values()
        for file in (ROOT / folder).rglob("*.py*")
        if file.suffix in {".py", ".pyi"}
    }
    assert sources - within == set()
