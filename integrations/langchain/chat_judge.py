"""A chat model as a judge in a pipeline: it grades passages, and its grades are checked."""

from __future__ import annotations

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage

from hoptrail.errors import InputError
from hoptrail.memory.search.rerankers.prompt_judge import JUDGE_INSTRUCTIONS, PromptJudge


class ChatJudge(PromptJudge):
    """A judge that has a LangChain chat model grade passages.

    Args:
        model: Any chat model; it needs neither tools nor structured output.
        instructions: What it is told before question and passages; ours by default.

    Raises:
        InputError: It is no chat model.

    Examples:
        >>> from hoptrail.memory import Judge, Pipeline, Search
        >>> graded = Judge(ChatJudge(model), keep=5)  # doctest: +SKIP
        >>> memory.search("Who?", pipeline=Pipeline([Search(keep=20), graded]))  # doctest: +SKIP
    """

    def __init__(self, model: BaseChatModel, *, instructions: str = JUDGE_INSTRUCTIONS) -> None:
        if not isinstance(model, BaseChatModel):
            raise InputError(f"model must be a LangChain chat model, got {type(model).__name__}")

        def complete(system: str, data: str) -> str:
            reply: str = model.invoke([SystemMessage(system), HumanMessage(data)]).text
            return reply

        super().__init__(complete, instructions=instructions)
