"""A memory as a LangChain vector store: documents in and out, nearest by cosine."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from hoptrail.api.inputs import parse_scope
from hoptrail.api.memory import Memory
from hoptrail.errors import InputError, UnknownId
from hoptrail.formats.json_views import metadata_data
from hoptrail.integrations.langchain.embeddings import EmbeddingsEncoder, EncoderEmbeddings
from hoptrail.memory.filters import Filter, FilterLike
from hoptrail.types import AsOf, Passage
from hoptrail.values.numbers import finite, shown, whole


class HoptrailVectorStore(VectorStore):
    """A memory, wherever LangChain takes a vector store.

    Documents are passages: what is added here is walked by `memory.recall` as well. Searches take
    `filter`, a condition on metadata as `hoptrail.memory.filters` says, `as_of`, a time whose
    documents are searched as `Memory.search` takes it, and no other setting.

    Args:
        memory: Holds the documents, and has the encoder.
        namespace: Documents go to exactly this one; searches look in every namespace that begins
            with it.

    Raises:
        InputError: It is no memory, or no namespace.

    Examples:
        >>> store = HoptrailVectorStore(Memory("agent.db"))  # doctest: +SKIP
        >>> ids = store.add_texts(["Ada was born in Varn."])  # doctest: +SKIP
        >>> retriever = store.as_retriever(search_type="mmr")  # doctest: +SKIP
    """

    def __init__(self, memory: Memory, *, namespace: Sequence[str] = ()) -> None:
        if not isinstance(memory, Memory):
            raise InputError(f"memory must be a Memory, got {type(memory).__name__}")
        self.memory = memory
        self.namespace = parse_scope(namespace).namespace

    @property
    def embeddings(self) -> Embeddings | None:
        """What embeds its documents; None until an encoder that comes by default is loaded."""
        encoder = self.memory.store.encoder
        if encoder is None:
            return None
        if isinstance(encoder, EmbeddingsEncoder):
            return encoder.embeddings
        return EncoderEmbeddings(encoder)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[Any, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        path: str | Path | None = None,
        fingerprint: str | None = None,
        namespace: Sequence[str] = (),
        **kwargs: Any,
    ) -> HoptrailVectorStore:
        """Write texts to a file's memory, and return it as a vector store.

        Args:
            texts: The texts.
            embedding: Embeds them: `EncoderEmbeddings`, or any other with a `fingerprint`.
            metadatas: One for each text.
            ids: One for each text; what has none gets a new one.
            path: The file of the memory; made when absent.
            fingerprint: Names the model of the embeddings; see `EmbeddingsEncoder`.
            namespace: Where they go.
            kwargs: There are no others.

        Raises:
            InputError: There is no path, no fingerprint, or something that cannot be stored.
        """
        _refuse(kwargs, "from_texts takes ids, path, fingerprint and namespace")
        if path is None:
            raise InputError('from_texts needs the file of the memory: path="agent.db"')
        if isinstance(embedding, EncoderEmbeddings):
            memory = Memory(path, encoder=embedding.encoder)
        elif fingerprint is None:
            raise InputError("from_texts needs the name of the embeddings' model: fingerprint=...")
        else:
            memory = Memory(path, encoder=EmbeddingsEncoder(embedding, fingerprint))
        store = cls(memory, namespace=namespace)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[Any, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Write texts, all of them or none; their ids. One whose id is taken replaces the old.

        Args:
            texts: The texts.
            metadatas: One for each text.
            ids: One for each text; what has none gets a new one.
            kwargs: There are no others.

        Raises:
            InputError: There are more or fewer of one than of the other, or something cannot be
                stored.
        """
        several = list(texts)
        for name, values in (("metadatas", metadatas), ("ids", ids)):
            if values is not None and len(values) != len(several):
                raise InputError(f"there are {len(several)} texts and {len(values)} {name}")
        documents = [
            Document(page_content=text, metadata=metadata)
            for text, metadata in zip(several, metadatas or [{} for _ in several], strict=True)
        ]
        return self.add_documents(documents, ids=ids, **kwargs)

    def add_documents(
        self,
        documents: list[Document],
        *,
        ids: list[str] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Write documents, all of them or none; their ids. One whose id is taken replaces the old.

        Args:
            documents: The documents; one without an id gets a new one.
            ids: One for each document, in place of its own.
            batch_size: Said by LangChain's indexing; they are one transaction whatever it is.
            kwargs: There are no others.

        Raises:
            InputError: There are more or fewer ids than documents, or something cannot be stored.
        """
        _refuse(kwargs, "documents are added with ids")
        own = [one.id for one in documents] if ids is None else list(ids)
        if len(own) != len(documents):
            raise InputError(f"there are {len(documents)} documents and {len(own)} ids")
        names = [str(uuid.uuid4()) if one is None else one for one in own]
        copies: list[Any] = [
            Document(id=name, page_content=one.page_content, metadata=one.metadata)
            for name, one in zip(names, documents, strict=True)
        ]
        self.memory.add(copies, namespace=self.namespace, on_duplicate="replace")
        return names

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Delete documents; ids that are not there are no error.

        Args:
            ids: Theirs, in exactly this namespace; None is every document that a search looks at.
            kwargs: There are none.
        """
        _refuse(kwargs, "documents are deleted by ids")
        if ids is None:
            self.memory.forget(None, namespace=self.namespace)
            return True
        while True:
            present = [passage.id for passage in self._present(ids)]
            try:
                self.memory.delete(present, self.namespace)
                return True
            except UnknownId:
                continue  # another has just deleted one of them

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with these ids, in exactly this namespace; those not there are left out.

        Args:
            ids: Theirs.
        """
        return [_document(passage) for passage in self._present(ids)]

    def similarity_search(
        self,
        query: str,
        k: int = 4,
        *,
        filter: FilterLike | None = None,
        as_of: AsOf | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """The documents nearest to a query, best first.

        Args:
            query: In words.
            k: How many, at least 1.
            filter: Only documents that fulfil it.
            as_of: What was valid at a time rather than now.
            kwargs: There are no others.

        Raises:
            InputError: A value that cannot be used.
        """
        scored = self.similarity_search_with_score(query, k, filter=filter, as_of=as_of, **kwargs)
        return [document for document, _ in scored]

    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        *,
        filter: FilterLike | None = None,
        as_of: AsOf | None = None,
        **kwargs: Any,
    ) -> list[tuple[Document, float]]:
        """The documents nearest to a query with their cosines, best first.

        Args:
            query: In words.
            k: How many, at least 1.
            filter: Only documents that fulfil it.
            as_of: What was valid at a time rather than now.
            kwargs: There are no others.
        """
        _refuse(kwargs, "a search takes k, filter and as_of")
        hits = self.memory.search(
            query, k, self.namespace, mode="dense", filter=filter, as_of=as_of
        )
        return [(_document(hit.passage), hit.score) for hit in hits]

    def similarity_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        *,
        filter: FilterLike | None = None,
        as_of: AsOf | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """The documents nearest to a vector, best first.

        Args:
            embedding: Of the memory's encoder, `(d,)`; its length does not matter.
            k: How many, at least 1.
            filter: Only documents that fulfil it.
            as_of: What was valid at a time rather than now.
            kwargs: There are no others.

        Raises:
            InputError: A vector of another width or without a direction.
        """
        _refuse(kwargs, "a search takes k, filter and as_of")
        passages, _ = self._nearest(embedding, k, filter, as_of)
        return [_document(passage) for passage in passages]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: FilterLike | None = None,
        as_of: AsOf | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Documents near to a query and far from one another (Carbonell and Goldstein 1998).

        Args:
            query: In words.
            k: How many, at least 1.
            fetch_k: Among how many that are nearest to the query.
            lambda_mult: From 0 (as different as can be) to 1 (as near as can be).
            filter: Only documents that fulfil it.
            as_of: What was valid at a time rather than now.
            kwargs: There are no others.
        """
        # Loads the encoder, and tells whether there is anything.
        if not self.similarity_search(query, 1, filter=filter, as_of=as_of):
            return []
        vector = self.memory.store.encode_queries([query])[0].tolist()
        return self.max_marginal_relevance_search_by_vector(
            vector, k, fetch_k, lambda_mult, filter=filter, as_of=as_of, **kwargs
        )

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: FilterLike | None = None,
        as_of: AsOf | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Documents near to a vector and far from one another.

        Args:
            embedding: Of the memory's encoder, `(d,)`.
            k: How many, at least 1.
            fetch_k: Among how many that are nearest to it.
            lambda_mult: From 0 (as different as can be) to 1 (as near as can be).
            filter: Only documents that fulfil it.
            as_of: What was valid at a time rather than now.
            kwargs: There are no others.

        Raises:
            InputError: A value that cannot be used.
        """
        _refuse(kwargs, "this search takes k, fetch_k, lambda_mult, filter and as_of")
        weight = finite(lambda_mult)
        if weight is None or not 0 <= weight <= 1:
            raise InputError(f"lambda_mult must be from 0 to 1, got {shown(lambda_mult)}")
        whole(k, "k", least=1)
        whole(fetch_k, "fetch_k", least=1)
        passages, vectors = self._nearest(embedding, max(k, fetch_k), filter, as_of)
        if not passages:
            return []
        places = maximal_marginal_relevance(
            np.asarray(embedding, dtype=np.float32), list(vectors), weight, k
        )
        return [_document(passages[place]) for place in places]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        # A threshold is a cosine; what points away from the query is of no relevance.
        return lambda cosine: min(1.0, max(0.0, cosine))

    def _nearest(
        self, embedding: list[float], k: int, filter: FilterLike | None, as_of: AsOf | None
    ) -> tuple[list[Passage], np.ndarray[Any, np.dtype[np.float32]]]:
        """The passages nearest to a vector, and their own vectors `(m, d)`."""
        whole(k, "k", least=1)
        vector = np.asarray(embedding, dtype=np.float32)
        length = float(np.linalg.norm(vector)) if vector.ndim == 1 else 0.0
        if not np.isfinite(length) or not length:
            raise InputError(f"a vector has a width and a direction, got {shown(embedding)}")
        scope = parse_scope(self.namespace, as_of)
        with self.memory.store.pinned(scope) as view, view.lock:
            allowed = view.allowed(Filter.parse_optional(filter))
            if not view.size:
                return [], np.zeros((0, len(vector)), dtype=np.float32)
            if len(vector) != view.dense.dim:
                raise InputError(
                    f"the memory's vectors have {view.dense.dim} numbers, got {len(vector)}"
                )
            _, slots = view.dense.search(vector[None] / length, k, allowed=allowed)
            return view.passages(slots[0]), view.dense.vectors(slots[0])

    def _present(self, ids: Sequence[str]) -> list[Passage]:
        passages = []
        for id_ in dict.fromkeys(ids):
            try:
                passages.append(self.memory.get(id_, self.namespace))
            except UnknownId:
                continue
        return passages


def _document(passage: Passage) -> Document:
    """A passage as it was added: its title is in its metadata, as documents have it."""
    metadata = metadata_data(passage)
    if passage.title:
        metadata.setdefault("title", passage.title)
    return Document(id=passage.id, page_content=passage.text, metadata=metadata)


def _refuse(kwargs: Mapping[str, Any], takes: str) -> None:
    if kwargs:
        raise InputError(f"{takes}, not {next(iter(kwargs))!r}")
