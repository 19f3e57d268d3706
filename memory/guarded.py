"""Context managers from generators, as of `contextlib`, that an interrupt cannot leave open.

An exception may come out of a signal handler between any two steps. `contextlib.contextmanager`
leaves its generator suspended, with whatever it holds, when that happens as it is entered, until
somebody drops the traceback; here it is closed at once, and its `finally` blocks run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


class Guarded(AbstractContextManager[T_co], Generic[T_co]):
    """Runs a generator to its one `yield`, and on when the block ends; for one use."""

    def __init__(self, steps: Iterator[T_co]) -> None:
        self._steps = steps

    def __enter__(self) -> T_co:
        try:
            return next(self._steps)
        except BaseException:
            self._steps.close()  # type: ignore[attr-defined]
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                next(self._steps, None)
            else:
                self._steps.throw(error)  # type: ignore[attr-defined]
        except StopIteration:
            pass  # nothing is swallowed here: the block's own exception goes on
        except BaseException as raised:
            if raised is not error:
                raise
            raised.__traceback__ = trace  # as if it had not come by here
        finally:
            # Else an exception and this frame would keep each other, and what else is in its
            # traceback: an interrupt at the first step of this method leaves its block open as
            # long as that is there.
            error = trace = None
            self._steps.close()  # type: ignore[attr-defined]


def guarded(steps: Callable[P, Iterator[T_co]]) -> Callable[P, Guarded[T_co]]:
    """As `contextlib.contextmanager`, for what holds locks and transactions."""

    @wraps(steps)
    def make(*args: P.args, **kwargs: P.kwargs) -> Guarded[T_co]:
        return Guarded(steps(*args, **kwargs))

    return make
