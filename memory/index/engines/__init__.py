"""Engines of others that search vectors beside a store: Qdrant, on a server or in a folder."""
