"""From a query to ranked passages: hybrid search, fusion, pipelines of stages, rerankers."""
