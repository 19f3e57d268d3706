"""Small memories to walk, a policy that is a table, and walks found by trying every order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from hoptrail.formats.jsonl import read_corpus, read_questions
from hoptrail.graph.graph import Graph
from hoptrail.graph.view import GraphView
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.memory.views.view import View
from hoptrail.policies.data.examples import Example, PoolFeatures, read_all
from hoptrail.policies.environment import candidates as pool_module
from hoptrail.policies.environment.candidates import CandidatePool, RetrievalScope
from hoptrail.policies.environment.efforts import EFFORTS, Effort
from hoptrail.policies.environment.features import features
from hoptrail.policies.environment.reformulation import Reformulator
from hoptrail.policies.environment.state import StateBatch, state_input
from hoptrail.policies.environment.terms import Lexicon
from hoptrail.policies.networks.policy_network import NetworkConfig, PolicyNetwork
from hoptrail.policies.policy import Policy
from hoptrail.policies.retriever import PolicyRetriever
from hoptrail.types import Passage, Question

DEMO = Path(__file__).resolve().parents[2] / "src" / "hoptrail"


@dataclass
class World:
    """One memory with everything that a pool needs."""

    store: Store
    view: View
    graph: GraphView
    encoder: HashEncoder
    scope: RetrievalScope

    def forget_terms(self) -> None:
        """As if nothing had been asked yet."""
        self.scope = RetrievalScope(self.view, self.graph, Lexicon(self.view, self.graph))

    def slots(self, *ids: str) -> tuple[int, ...]:
        found = [self.view.slot_of(i) for i in ids]
        assert None not in found, ids
        return tuple(slot for slot in found if slot is not None)

    def ids(self, slots: Sequence[int] | np.ndarray) -> list[str]:
        return [passage.id for passage in self.view.passages(list(slots))]

    def pool(self, question: str, *, allowed: np.ndarray | None = None) -> CandidatePool:
        return CandidatePool(question, self.encoder.encode([question])[0], self.scope, allowed)

    def read(self, pool: CandidatePool, slots: Sequence[int], *, reencode: bool = True) -> None:
        reformulator = Reformulator(self.encoder, reencode=reencode)
        pool.read(list(slots), reformulator.rewrite([(pool, slot) for slot in slots]))

    def example(self, question: str, gold: Sequence[int], read: Sequence[int] = ()) -> Example:
        asked = Question(
            id="q", text=question, answers=("Varn",), supporting_ids=tuple(self.ids(gold))
        )
        example = Example(asked, PoolFeatures(self.pool(question)), tuple(gold))
        reads = [(example, slot) for slot in dict.fromkeys([*gold, *read])]
        read_all(reads, Reformulator(self.encoder, reencode=True))
        example.mark()
        return example

    def walker(self, policy: Policy, effort: Effort | str = "balanced") -> PolicyRetriever:
        bounds = EFFORTS[effort] if isinstance(effort, str) else effort
        return PolicyRetriever(policy, self.view, self.graph, self.encoder, bounds)


OpenWorld = Callable[[Sequence[Passage]], World]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[OpenWorld]:
    """Opens passages as a memory of their own."""
    stores: list[Store] = []

    def opened(passages: Sequence[Passage]) -> World:
        encoder = HashEncoder()
        store = Store(tmp_path / f"memory-{len(stores)}.db", encoder=encoder)
        stores.append(store)
        store.add(passages)
        view = store.view()
        graph = Graph(store).view(view)
        return World(store, view, graph, encoder, RetrievalScope(view, graph, Lexicon(view, graph)))

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def small(world: OpenWorld, twelve: list[Passage]) -> World:
    """The corpus of twelve."""
    return world(twelve)


@pytest.fixture(scope="session")
def demo_passages() -> list[Passage]:
    return list(read_corpus(DEMO / "demo/corpus.jsonl"))


@pytest.fixture(scope="session")
def demo_questions() -> list[Question]:
    return read_questions(DEMO / "demo/questions.jsonl")


@pytest.fixture
def demo(world: OpenWorld, demo_passages: list[Passage]) -> World:
    return world(demo_passages)


@pytest.fixture
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets a question bring so many candidates from each ranking, and a rewritten query `read`."""

    def narrow(question: int, *, read: int = 0) -> None:
        for name in ("HYBRID_HITS", "DENSE_HITS", "SPARSE_HITS"):
            monkeypatch.setattr(pool_module, name, question)
        monkeypatch.setattr(pool_module, "PAGERANK_CANDIDATES", 0, raising=False)
        monkeypatch.setattr(pool_module, "READ_HITS", read)

    return narrow


MakePolicy = Callable[..., Policy]


@pytest.fixture
def random_policy() -> MakePolicy:
    """An untrained policy with opinions: its scores are spread far wider than at the start."""

    def make(members: int = 1, *, seed: int = 0, spread: float = 8.0) -> Policy:
        networks = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for _ in range(members):
                network = PolicyNetwork(NetworkConfig(width=16, layers=2, dropout=0.2))
                with torch.no_grad():
                    network.score[-1].weight.mul_(spread)
                    network.stop[-1].weight.mul_(spread)
                networks.append(network)
        return Policy(networks).eval()

    return make


class TablePolicy(Policy):
    """A policy whose scores are drawn from (seed, evidence as a set, candidate)."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__([PolicyNetwork(NetworkConfig(width=1, layers=0))])
        self.seed = seed
        self.states = 0

    def logit(self, evidence: frozenset[int], action: int) -> float:
        """The score of reading a slot; that of STOP for -1."""
        rng = np.random.default_rng([self.seed, action + 1, *(s + 1 for s in sorted(evidence))])
        return float(rng.normal(scale=1.5))

    def decide(self, states: StateBatch) -> tuple[torch.Tensor, torch.Tensor]:
        reads, stops = [], []
        for start, end in zip(states.starts[:-1], states.starts[1:], strict=True):
            slots = states.slots[start:end].tolist()
            evidence = frozenset(
                s for s, e in zip(slots, states.evidence[start:end], strict=True) if e
            )
            scores = [-math.inf if s in evidence else self.logit(evidence, s) for s in slots]
            log_pi = torch.tensor([*scores, self.logit(evidence, -1)]).double().log_softmax(0)
            reads.append(log_pi[:-1])
            stops.append(log_pi[-1:])
            self.states += 1
        return torch.cat(reads), torch.cat(stops)


@pytest.fixture
def table_policy() -> Callable[[int], TablePolicy]:
    return TablePolicy


@dataclass
class Enumerated:
    """All that can happen in a walk, by trying every order of reading."""

    score: dict[int, float]
    """By slot: Σ π(s) π(i | s) over all ordered prefixes s."""
    ends: dict[tuple[frozenset[int], str], float]
    """Probability by (evidence, how it ended)."""


@pytest.fixture
def enumerate_walks() -> Callable[[World, Policy, str, int], Enumerated]:
    """Every order of reading at most so many passages, by the decisions of a policy."""

    def enumerate_(world: World, policy: Policy, question: str, hops: int) -> Enumerated:
        found = Enumerated({}, {})

        def end(evidence: tuple[int, ...], how: str, probability: float) -> None:
            key = frozenset(evidence), how
            found.ends[key] = found.ends.get(key, 0.0) + probability

        def visit(evidence: tuple[int, ...], probability: float) -> None:
            pool = world.pool(question)  # its own: nothing that other orders read is in it
            for slot in evidence:
                world.read(pool, [slot])
            state = state_input(pool, features(pool), evidence)
            states = StateBatch(
                state.x,
                state.slots,
                state.evidence,
                state.edges,
                state.edge_kind,
                state.edge_weight,
                np.asarray([0, len(state.x)]),
            )
            read, stop = (t.double().exp().numpy() for t in policy.decide(states))
            going_on = float(read.sum())
            end(evidence, "policy" if going_on else "exhausted", probability * float(stop[0]))
            if going_on and len(evidence) == hops:
                end(evidence, "budget", probability * going_on)
            for slot, p in zip(state.slots.tolist(), read.tolist(), strict=True):
                found.score[slot] = found.score.get(slot, 0.0) + probability * p
                if p and len(evidence) < hops:
                    visit((*evidence, slot), probability * p)

        visit((), 1.0)
        return found

    return enumerate_
