from .memory_block import LlamaIndexMemoryBlock as LlamaIndexMemoryBlock
from .nodes import PassageNode as PassageNode, passages_of_nodes as passages_of_nodes
from .retriever import LlamaIndexRetriever as LlamaIndexRetriever
