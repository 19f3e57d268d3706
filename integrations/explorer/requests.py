"""What the explorer's page may ask for: checked, bounded, and nothing that is not named here."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

MAX_QUERY = 20_000
"""Characters of a question."""
MAX_TEXT = 1_000_000
"""Characters of a passage's text."""
MAX_NAME = 1_000
"""Characters of an id, a title, a kind of link or a part of a namespace."""

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
NamespaceParts = Annotated[list[Name], Field(max_length=32)]
Count = Annotated[int, Field(ge=1, le=200)]


class ExplorerRequest(BaseModel):
    """What a request holds: what is not named is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class OverviewRequest(ExplorerRequest):
    """The memory as a whole."""


class AskRequest(ExplorerRequest):
    """A question, and how it is walked."""

    question: str = Field(max_length=MAX_QUERY)
    namespace: NamespaceParts = []
    k: Count = 5
    effort: Name = "balanced"
    policy: Name | None = None


class BrowseRequest(ExplorerRequest):
    """A page of a list of passages, or of those that some words find."""

    namespace: NamespaceParts = []
    words: str = Field(default="", max_length=MAX_QUERY)
    after: tuple[NamespaceParts, str] | None = None
    limit: Count = 50


class PassageRequest(ExplorerRequest):
    """One passage."""

    id: Name
    namespace: NamespaceParts = []


class NeighbourhoodRequest(ExplorerRequest):
    """The graph around a passage; around the best joined without one."""

    id: Name | None = None
    namespace: NamespaceParts = []
    most: Count = 60


class AddRequest(ExplorerRequest):
    """A new passage."""

    text: str = Field(max_length=MAX_TEXT)
    title: str | None = Field(default=None, max_length=MAX_NAME)
    id: Name | None = None
    namespace: NamespaceParts = []


class EditRequest(PassageRequest):
    """What becomes of a passage."""

    text: str | None = Field(default=None, max_length=MAX_TEXT)
    title: str | None = Field(default=None, max_length=MAX_NAME)
    metadata: dict[str, Any] | None = None


class LinkRequest(PassageRequest):
    """A link of a passage, to be made or to be taken away."""

    target: Name
    kind: Name = "link"


class UndoRequest(ExplorerRequest):
    """Take the last change back."""
