from .documents import documents as documents
from .langchain import (
    HoptrailRetriever as HoptrailRetriever,
    RecallInput as RecallInput,
    RecallTool as RecallTool,
    recall_tool as recall_tool,
)
