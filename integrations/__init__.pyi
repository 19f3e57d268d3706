from .explorer.exploring import explore as explore
from .function_calling import (
    MemoryTools as MemoryTools,
    anthropic_result as anthropic_result,
    openai_output as openai_output,
)
from .http_server.http_serving import serve_http as serve_http
from .http_server.server_limits import ServerLimits as ServerLimits
from .langchain import (
    ChatJudge as ChatJudge,
    ChatReader as ChatReader,
    EmbeddingsEncoder as EmbeddingsEncoder,
    EncoderEmbeddings as EncoderEmbeddings,
    HoptrailRetriever as HoptrailRetriever,
    HoptrailVectorStore as HoptrailVectorStore,
    MemoryMiddleware as MemoryMiddleware,
    OperationTool as OperationTool,
    RecallCompressor as RecallCompressor,
    RecallInput as RecallInput,
    RecallTool as RecallTool,
    agent_tools as agent_tools,
    documents as documents,
    recall_tool as recall_tool,
)
from .langgraph import HoptrailStore as HoptrailStore
from .llama_index import (
    LlamaIndexMemoryBlock as LlamaIndexMemoryBlock,
    LlamaIndexRetriever as LlamaIndexRetriever,
    PassageNode as PassageNode,
    passages_of_nodes as passages_of_nodes,
)
from .mcp_server.serving import serve as serve
from .operations.bound_memory import BoundMemory as BoundMemory, Outcome as Outcome
from .operations.recall_bounds import RecallBounds as RecallBounds
from .ray_ingest import Ingested as Ingested, ingest_dataset as ingest_dataset
from .telemetry import trace_calls as trace_calls
from .trackers.services import load_tracker as load_tracker
from .trackers.tracker import TrackedProgress as TrackedProgress, Tracker as Tracker
from .web.bounded_connections import ConnectionLimits as ConnectionLimits
from .web.tokens import Access as Access, read_tokens as read_tokens
