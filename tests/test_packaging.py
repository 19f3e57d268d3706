"""What is installed is what is here: the packages, every file of them, and nothing beside them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import hoptrail

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]
NOT_PACKAGES = {"tests", "scripts", "benchmarks", "examples", "docs", "build", "dist", "src"} | {
    "scratch",
    "runs",
}


def test_every_package_is_listed_with_its_folder() -> None:
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(FOLDERS)
    for package, folder in FOLDERS.items():
        assert (ROOT / folder / "__init__.py").is_file(), f"{folder} is listed as {package}"
    with_code = {
        file.parent.relative_to(ROOT).as_posix()
        for top in ROOT.iterdir()
        if top.is_dir() and top.name not in NOT_PACKAGES and not top.name.startswith(".")
        for file in top.rglob("*.py")
    }
    assert with_code == set(FOLDERS.values()) - {"src/hoptrail"}


def test_packages_are_flat() -> None:
    deeper = [
        file.parent.relative_to(ROOT).as_posix()
        for folder in FOLDERS.values()
        for file in (ROOT / folder).glob("*/**/*.py")
        if "__pycache__" not in file.parts
    ]
    assert deeper == [], "a sub-package is missing from the wheel unless pyproject lists it"


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
    named = {re.split(r"[\[>]", line)[0].lower() for line in [*project["dependencies"], *optional]}
    assert named - {"hoptrail"} <= pinned, "run: make pins"


@pytest.mark.slow
def test_the_wheel_holds_every_file_and_only_hoptrail(tmp_path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"{package.replace('.', '/')}/{file.name}"
        for package, folder in FOLDERS.items()
        for file in (ROOT / folder).iterdir()
        if file.is_file() and not file.name.startswith(".")
    }
    assert wanted - held == set()
    assert "hoptrail/py.typed" in held
    tops = {name.split("/")[0] for name in held}
    assert tops == {"hoptrail", f"hoptrail-{hoptrail.__version__}.dist-info"}
    (top_level,) = (name for name in held if name.endswith("top_level.txt"))
    assert zipfile.ZipFile(wheel).read(top_level).decode().split() == ["hoptrail"]
    assert any(name.endswith("licenses/LICENSE") for name in held)
    assert len(list(tmp_path.glob("*.tar.gz"))) == 1
