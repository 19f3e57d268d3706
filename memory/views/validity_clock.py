"""What of a view changes though nobody writes: passages begin and cease to be valid."""

from __future__ import annotations

import math
import sqlite3

from hoptrail.memory.storage import records
from hoptrail.memory.storage.namespaces import Scope


class ValidityClock:
    """Until when a view's passages were the valid ones, and when that next changes.

    Of a scope whose moment does not go with the clock nothing ever changes. Not locked: the view
    that owns it is.

    Args:
        scope: The view's.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._next_turn = -math.inf
        self.reached = -math.inf
        """Seconds since 1970 up to which what begins and ends was followed."""

    def is_sound(self, connection: sqlite3.Connection, now: float, reached: float) -> bool:
        """Whether what was valid at one time can be followed to another.

        False where the clock was set back to before a passage began or ceased to be.

        Args:
            connection: The store's.
            now: Seconds since 1970.
            reached: Up to when it was followed.
        """
        return now >= reached or not records.turning_rowids(connection, now, reached, self._scope)

    def turning(self, connection: sqlite3.Connection, now: float) -> list[int] | None:
        """Rowids of passages that begin or cease to be valid since; None where there is no telling.

        Args:
            connection: The store's.
            now: Seconds since 1970.
        """
        if not self._scope.moment.moves:
            return []
        if now < self.reached:
            return [] if self.is_sound(connection, now, self.reached) else None
        if now < self._next_turn:
            return []
        return records.turning_rowids(connection, self.reached, now, self._scope)

    def follow(self, connection: sqlite3.Connection, now: float, *, changed: bool) -> None:
        """Take note that the view holds what is valid now.

        Args:
            connection: The store's.
            now: Seconds since 1970.
            changed: Whether passages were written or turned since, so that another may be next.
        """
        if self._scope.moment.moves and (changed or now >= self._next_turn):
            self.reached = now
            self._next_turn = records.next_turn(connection, now, self._scope)
