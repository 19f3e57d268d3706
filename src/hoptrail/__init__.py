"""A memory for agents, linked as a graph, and a small learned policy that walks it.

Every name here is looked up when it is first used, so that `import hoptrail` costs next to
nothing: torch and the rest come in with the first thing that needs them. Which names there are
stands in `__init__.pyi`, here and in each package one level below.
"""

import lazy_loader

_attribute, _names, _public = lazy_loader.attach_stub(__name__, __file__)
__all__ = [*_public, "__version__"]


def __getattr__(name: str) -> object:
    """The public name, from the module where it lives (PEP 562)."""
    if name != "__version__":
        return _attribute(name)
    from importlib.metadata import version

    globals()[name] = value = version("hoptrail")
    return value


def __dir__() -> list[str]:
    """The public names beside what is already loaded."""
    return sorted({*globals(), *__all__})
