"""What a caller is told where a request is not carried out: a status and one sentence."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from starlette.responses import Response

from hoptrail.api.hit_selection import UncalibratedError
from hoptrail.api.memory import Memory
from hoptrail.errors import DuplicateId, HoptrailError, InputError, StoreBusy, UnknownId
from hoptrail.integrations.web.http_messages import HEADERS, json_reply
from hoptrail.outputs.printable import printable

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1
"""After which a caller may come again, where it is the server that was busy."""


class RefusalError(Exception):
    """A request that is not carried out.

    Args:
        status: HTTP's.
        sentence: What is wrong, and what would be right.
        headers: What else the reply says.
    """

    def __init__(
        self, status: int, sentence: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = dict(headers or {})

    def reply(self) -> Response:
        """The reply that says so."""
        return json_reply(
            self.status, {"error": printable(self.sentence)}, {**HEADERS, **self.headers}
        )


def try_again(sentence: str, status: int = 503, seconds: int = RETRY_SECONDS) -> RefusalError:
    """A refusal of what may well be carried out a little later.

    Args:
        sentence: What is wrong.
        status: HTTP's.
        seconds: After which the caller may come again.
    """
    return RefusalError(status, sentence, {"Retry-After": str(seconds)})


def refusal_of(error: HoptrailError, memory: Memory) -> RefusalError:
    """What an error of the memory is to a caller.

    What only the operator can mend is logged in full, and told without what it says of files.

    Args:
        error: As the memory raised it.
        memory: That memory.
    """
    if isinstance(error, UnknownId):
        return RefusalError(404, str(error))
    if isinstance(error, DuplicateId):
        return RefusalError(409, str(error))
    if isinstance(error, InputError | UncalibratedError):
        return RefusalError(422, str(error))
    logger.error("%s", printable(error))
    if isinstance(error, StoreBusy):
        return try_again("another process writes to the memory: try again")
    written = f"the store {memory.store.name} could not be written: "
    if str(error).startswith(written):
        reason = str(error).removeprefix(written)
        return try_again(f"the store could not be written, and nothing was: {reason}", seconds=10)
    return RefusalError(503, "the memory cannot do this now: the server's log says why")
