"""A memory as a LangChain vector store, by LangChain's own suite and by what that does not ask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from hoptrail import InputError, Memory
from hoptrail.integrations.langchain import (
    EmbeddingsEncoder,
    EncoderEmbeddings,
    HoptrailVectorStore,
)
from hoptrail.memory.testing.hash_encoder import HashEncoder

TEXTS = [
    f"{name} saw {n} {bird}"
    for n, name in enumerate(("Ann", "Bob", "Cem"))
    for bird in ("owls", "herons", "swifts", "terns")
]


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path) -> Iterator[VectorStore]:
        encoder = EmbeddingsEncoder(self.get_embeddings(), "fake")
        with Memory(tmp_path / "a.db", encoder=encoder) as memory:
            yield HoptrailVectorStore(memory, namespace=("suite",))


@pytest.fixture
def store(tmp_path) -> Iterator[HoptrailVectorStore]:
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        store = HoptrailVectorStore(memory, namespace=("ann",))
        store.add_texts(
            TEXTS, [{"n": n} for n in range(len(TEXTS))], ids=[str(n) for n in range(len(TEXTS))]
        )
        yield store


@pytest.fixture
def oracle() -> InMemoryVectorStore:
    """LangChain's own, over the same vectors."""
    oracle = InMemoryVectorStore(EncoderEmbeddings(HashEncoder()))
    oracle.add_texts(
        TEXTS, [{"n": n} for n in range(len(TEXTS))], ids=[str(n) for n in range(len(TEXTS))]
    )
    return oracle


QUERIES = ["Who saw herons?", "Bob", "swifts and terns", "Ann saw 0 owls"]


@pytest.mark.parametrize("query", QUERIES)
async def test_it_finds_what_langchain_s_own_store_finds(store, oracle, query) -> None:
    expected = oracle.similarity_search_with_score(query, 3)
    found = store.similarity_search_with_score(query, 3)
    assert [score for _, score in found] == pytest.approx(
        [score for _, score in expected], abs=1e-5
    )
    assert found[0][0] == expected[0][0]
    assert store.similarity_search(query, 3) == [document for document, _ in found]
    assert await store.asimilarity_search(query, 3) == store.similarity_search(query, 3)
    vector = store.embeddings.embed_query(query)
    assert store.similarity_search_by_vector(vector, 3) == store.similarity_search(query, 3)
    longer = [7 * number for number in vector]
    assert await store.asimilarity_search_by_vector(longer, 3) == store.similarity_search(query, 3)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("lambda_mult", [0.0, 0.5, 1.0])
async def test_mmr_is_as_near_and_as_different_as_of_langchain_s_own(
    store, oracle, query, lambda_mult
) -> None:
    settings: dict[str, Any] = {"k": 4, "fetch_k": len(TEXTS), "lambda_mult": lambda_mult}
    vector = np.asarray(store.embeddings.embed_query(query))

    def spread(documents: list[Document]) -> list[float]:
        vectors = np.asarray(store.embeddings.embed_documents([d.page_content for d in documents]))
        return sorted((vectors @ vector).tolist())

    found = store.max_marginal_relevance_search(query, **settings)
    expected = oracle.max_marginal_relevance_search(query, **settings)
    assert spread(found) == pytest.approx(spread(expected), abs=1e-5)
    assert len({document.id for document in found}) == 4
    assert await store.amax_marginal_relevance_search(query, **settings) == found
    by_vector = await store.amax_marginal_relevance_search_by_vector(vector.tolist(), **settings)
    assert by_vector == found


def test_a_filter_holds_in_every_search(store) -> None:
    only = {"n": {"$gte": 8}}
    vector = store.embeddings.embed_query("owls")
    for documents in (
        store.similarity_search("owls", 12, filter=only),
        store.similarity_search_by_vector(vector, 12, filter=only),
        store.max_marginal_relevance_search("owls", 12, filter=only),
    ):
        assert sorted(document.metadata["n"] for document in documents) == [8, 9, 10, 11]
    assert store.max_marginal_relevance_search("owls", filter={"n": 99}) == []


async def test_as_a_retriever_it_takes_each_kind_of_search(store) -> None:
    for search_type, settings in [
        ("similarity", {"k": 2}),
        ("mmr", {"k": 2, "fetch_k": 6}),
        ("similarity_score_threshold", {"k": 2, "score_threshold": 0.0}),
    ]:
        retriever = store.as_retriever(search_type=search_type, search_kwargs=settings)
        assert len(retriever.invoke("Who saw herons?")) == 2
        assert len(await retriever.ainvoke("Who saw herons?")) == 2
    exact = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.99}
    )
    assert [document.id for document in exact.invoke(TEXTS[5])] == ["5"]


def test_documents_stay_in_their_namespace_and_a_search_looks_below_it(store) -> None:
    below = HoptrailVectorStore(store.memory, namespace=("ann", "diary"))
    beside = HoptrailVectorStore(store.memory, namespace=("bob",))
    below.add_texts(["Ann's diary tells of curlews"], ids=["d"])
    assert beside.similarity_search("curlews") == []
    assert store.similarity_search("curlews diary", 1)[0].id == "d"
    assert store.get_by_ids(["d"]) == []
    store.delete(["d"])
    assert below.get_by_ids(["d"])
    beside.delete()
    assert store.memory.count() == len(TEXTS) + 1
    store.delete()
    assert store.memory.count() == 0


def test_the_same_passages_are_walked_by_a_recall(store) -> None:
    recall = store.memory.recall("Who saw herons?", 3, ("ann",))
    assert {passage.id for passage in recall.passages} <= {str(n) for n in range(len(TEXTS))}


def test_what_has_no_id_gets_a_new_one_and_titles_come_back(store) -> None:
    document = Document(page_content="Tea.", metadata={"title": "Tea", "page": 1})
    first, second = store.add_documents([document, document])
    assert first != second
    assert store.get_by_ids([first])[0].metadata == document.metadata
    assert store.memory.get(first, ("ann",)).title == "Tea"
    store.memory.add({"id": "t", "title": "Rum", "text": "Rum."}, namespace=("ann",))
    assert store.get_by_ids(["t"])[0].metadata == {"title": "Rum"}


def test_the_indexing_api_skips_replaces_and_cleans_up(store) -> None:
    records = InMemoryRecordManager(namespace="x")
    records.create_schema()
    store.delete()

    def run(texts: list[str]) -> dict[str, int]:
        documents = [Document(page_content=text, metadata={"source": "s"}) for text in texts]
        return dict(
            index(
                documents,
                records,
                store,
                cleanup="full",
                source_id_key="source",
                key_encoder="sha256",
            )
        )

    assert run(["a", "b"])["num_added"] == 2
    assert run(["a", "b"])["num_skipped"] == 2
    last = run(["b", "c"])
    assert (last["num_added"], last["num_deleted"]) == (1, 1)
    assert sorted(p.text for p in store.memory.store.passages()) == ["b", "c"]


def test_a_store_is_made_from_texts_and_opened_again(tmp_path) -> None:
    embeddings = DeterministicFakeEmbedding(size=16)
    settings: dict[str, Any] = {"path": tmp_path / "a.db", "fingerprint": "fake-16"}
    store = HoptrailVectorStore.from_texts(
        ["Ada", "Bob"], embeddings, [{"n": 1}, {"n": 2}], **settings
    )
    assert store.similarity_search("Bob", 1)[0].metadata == {"n": 2}
    assert store.embeddings is embeddings
    store.memory.close()
    again = HoptrailVectorStore.from_documents(
        [Document(id="c", page_content="Cem")], embeddings, **settings
    )
    assert again.memory.count() == 3
    again.memory.close()
    own = HoptrailVectorStore.from_texts(
        ["Ada"], EncoderEmbeddings(HashEncoder()), path=tmp_path / "b.db"
    )
    assert own.similarity_search("Ada", 1)[0].page_content == "Ada"
    own.memory.close()


def test_what_cannot_be_used_is_refused_and_never_ignored(store, tmp_path) -> None:
    vector = store.embeddings.embed_query("owls")
    wrong = [
        lambda: store.similarity_search("owls", filter=lambda document: True),
        lambda: store.similarity_search("owls", where={"n": 1}),
        lambda: store.similarity_search("owls", 0),
        lambda: store.similarity_search_by_vector(vector[:-1]),
        lambda: store.similarity_search_by_vector([0.0] * len(vector)),
        lambda: store.similarity_search_by_vector([float("nan")] * len(vector)),
        lambda: store.max_marginal_relevance_search("owls", lambda_mult=1.5),
        lambda: store.max_marginal_relevance_search("owls", fetch_k=0),
        lambda: store.max_marginal_relevance_search("owls", k=0),
        lambda: store.add_texts(["a"], ids=["1", "2"]),
        lambda: store.add_texts(["a"], [{}, {}]),
        lambda: store.add_documents([Document(page_content="a")], ids=[]),
        lambda: store.add_texts(["a"], refresh=True),
        lambda: store.delete(["0"], soft=True),
        lambda: HoptrailVectorStore("agent.db"),
        lambda: HoptrailVectorStore(store.memory, namespace="ann"),
        lambda: HoptrailVectorStore.from_texts(["a"], DeterministicFakeEmbedding(size=4)),
        lambda: HoptrailVectorStore.from_texts(
            ["a"], DeterministicFakeEmbedding(size=4), path=tmp_path / "c.db"
        ),
        lambda: HoptrailVectorStore.from_texts(
            ["a"], EncoderEmbeddings(HashEncoder()), path=tmp_path / "c.db", collection="x"
        ),
    ]
    for call in wrong:
        with pytest.raises(InputError):
            call()
    assert store.memory.count() == len(TEXTS)
