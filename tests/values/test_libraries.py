"""The version of a library is the one that is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

from hoptrail.values.libraries import library_version


@pytest.mark.parametrize("name", ["numpy", "tokenizers", "onnxruntime", "typing_extensions"])
def test_it_is_what_the_standard_library_says(name: str) -> None:
    assert library_version(name) == version(name)


def test_a_library_that_is_not_installed_is_named() -> None:
    with pytest.raises(PackageNotFoundError, match="no-such-library"):
        library_version("no-such-library")
