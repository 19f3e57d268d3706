from .chat_judge import ChatJudge as ChatJudge
from .chat_reader import ChatReader as ChatReader
from .compressor import RecallCompressor as RecallCompressor
from .embeddings import (
    EmbeddingsEncoder as EmbeddingsEncoder,
    EncoderEmbeddings as EncoderEmbeddings,
)
from .middleware import MemoryMiddleware as MemoryMiddleware
from .passage_documents import documents as documents
from .retriever import HoptrailRetriever as HoptrailRetriever
from .tools import (
    OperationTool as OperationTool,
    RecallInput as RecallInput,
    RecallTool as RecallTool,
    agent_tools as agent_tools,
    recall_tool as recall_tool,
)
from .vector_store import HoptrailVectorStore as HoptrailVectorStore
