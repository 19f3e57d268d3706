"""Give type checkers a plain hoptrail/ tree: symlinks in build/types, from package-dir."""

import shutil
import tomllib
from pathlib import Path

root = Path(__file__).resolve().parent.parent
tree = root / "build" / "types"
shutil.rmtree(tree, ignore_errors=True)
settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
folders = settings["tool"]["setuptools"]["package-dir"]
for package, folder in sorted(folders.items()):
    target = tree.joinpath(*package.split("."))
    target.mkdir(parents=True)
    for file in (root / folder).iterdir():
        if file.name != "__pycache__":
            (target / file.name).symlink_to(file)
