"""An extension of griffe: a verb of `Memory` is shown as the component's method that it is.

`verify = through(_maintenance, Maintenance.verify)` is an attribute to whoever reads the source
without running it; a reader of the reference wants the signature and the docstring.
"""

from typing import Any

import griffe

CLASS = "hoptrail.api.memory.Memory"
DELEGATES = "through"


class Delegates(griffe.Extension):
    """Puts the component's method in the place of each attribute that is made by `through`."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Called when a package has been read."""
        if pkg.path != CLASS.partition(".")[0]:
            return
        front = pkg[CLASS.partition(".")[2]]
        for name, member in list(front.members.items()):
            value = getattr(member, "value", None)
            if isinstance(value, griffe.ExprCall) and str(value.function) == DELEGATES:
                front.set_member(name, self._verb(pkg, str(value.arguments[1]), name, front))

    def _verb(
        self, pkg: griffe.Module, method: str, name: str, front: griffe.Class
    ) -> griffe.Function:
        component = front.module.resolve(method.partition(".")[0])
        original = pkg[f"{component.partition('.')[2]}.{name}"]
        verb = griffe.Function(
            name,
            lineno=original.lineno,
            endlineno=original.endlineno,
            parameters=original.parameters,
            returns=original.returns,
            docstring=original.docstring,
            parent=front,
        )
        verb.labels |= original.labels
        return verb
