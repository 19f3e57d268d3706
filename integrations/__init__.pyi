from .documents import documents as documents
from .function_calling import (
    MemoryTools as MemoryTools,
    anthropic_result as anthropic_result,
    openai_output as openai_output,
)
from .langchain import (
    HoptrailRetriever as HoptrailRetriever,
    RecallInput as RecallInput,
    RecallTool as RecallTool,
    recall_tool as recall_tool,
)
from .mcp_server.serving import serve as serve
from .mcp_server.tokens import Access as Access, read_tokens as read_tokens
from .operations.bound_memory import BoundMemory as BoundMemory, Outcome as Outcome
