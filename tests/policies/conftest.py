"""Small memories to walk, a policy that is a table, and walks found by trying every order."""

from __future__ import annotations

import copy
import itertools
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
from hoptrail.learning.low_rank import add_low_rank
from hoptrail.memory.encoders.transformer import Encoder, TransformerEncoder
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.memory.views.view import View
from hoptrail.policies.data.examples import Example, PoolFeatures, enter_all, to_enter
from hoptrail.policies.environment import candidates as pool_module
from hoptrail.policies.environment.candidates import CandidatePool, RetrievalScope
from hoptrail.policies.environment.efforts import EFFORTS, Effort
from hoptrail.policies.environment.features import features
from hoptrail.policies.environment.reformulation import Reformulator
from hoptrail.policies.environment.state import (
    State,
    StateBatch,
    StateInput,
    batch_states,
    state_input,
)
from hoptrail.policies.environment.terms import Lexicon
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy
from hoptrail.policies.reformulation.learned import LearnedReformulator
from hoptrail.policies.retriever import PolicyRetriever
from hoptrail.policies.training.latent_query_training import LatentQueryNetwork
from hoptrail.types import Passage, Question

DEMO = Path(__file__).resolve().parents[2] / "src" / "hoptrail"


@dataclass
class World:
    """One memory with everything that a pool needs."""

    store: Store
    view: View
    graph: GraphView
    encoder: Encoder
    scope: RetrievalScope
    learned: LearnedReformulator | None = None
    """What asks the next query, in place of the fixed rule."""

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
        vectors = self.encoder.encode([question])
        [first] = self.reformulator().first([question], vectors)
        return CandidatePool(question, vectors[0], self.scope, allowed, first=first)

    def reformulator(self, *, reencode: bool = True) -> Reformulator:
        return Reformulator(self.encoder, reencode=reencode, learned=self.learned)

    def enter(self, pool: CandidatePool, *states: Sequence[int], reencode: bool = True) -> None:
        """Read the evidence of these states and ask their queries."""
        reformulator = self.reformulator(reencode=reencode)
        reformulator.enter([(pool, tuple(evidence)) for evidence in states])

    def state(
        self, pool: CandidatePool, evidence: Sequence[int], *, reencode: bool = True
    ) -> StateInput:
        """What a policy sees in the state with this evidence, which is entered."""
        self.enter(pool, evidence, reencode=reencode)
        return state_input(pool, features(pool), tuple(evidence))

    def example(
        self,
        question: str,
        gold: Sequence[int],
        *,
        detours: Sequence[State] = (),
        entered: Sequence[State] = (),
    ) -> Example:
        asked = Question(
            id="q", text=question, answers=("Varn",), supporting_ids=tuple(self.ids(gold))
        )
        example = Example(asked, PoolFeatures(self.pool(question)), tuple(gold), tuple(detours))
        states = [(example, state) for state in (*to_enter(example), *entered)]
        enter_all(states, self.reformulator())
        example.mark()
        return example

    def walker(self, policy: Policy, effort: Effort | str = "balanced") -> PolicyRetriever:
        bounds = EFFORTS[effort] if isinstance(effort, str) else effort
        return PolicyRetriever(policy, self.view, self.graph, self.encoder, bounds)


OpenWorld = Callable[..., World]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[OpenWorld]:
    """Opens passages as a memory of their own, beside the hash encoder or another."""
    stores: list[Store] = []

    def opened(passages: Sequence[Passage], encoder: Encoder | None = None) -> World:
        encoder = encoder or HashEncoder()
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
    """Lets a question bring so many candidates from each ranking, and a next query `read`."""

    def narrow(question: int, *, read: int = 0) -> None:
        for name in ("HYBRID_HITS", "DENSE_HITS", "SPARSE_HITS"):
            monkeypatch.setattr(pool_module, name, question)
        monkeypatch.setattr(pool_module, "PAGERANK_CANDIDATES", 0, raising=False)
        monkeypatch.setattr(pool_module, "READ_HITS", read)

    return narrow


@pytest.fixture
def transformer(tiny_bert: Path) -> TransformerEncoder:
    """A transformer of one layer, with random weights."""
    return TransformerEncoder(tiny_bert, device="cpu")


@pytest.fixture
def words(world: OpenWorld, transformer: TransformerEncoder) -> World:
    """Passages of two or three words that the transformer knows, beside it."""
    pairs = itertools.permutations("old bridge river city under built".split(), 2)
    return world([Passage(f"{a}-{b}", f"{a} {b} {a}") for a, b in pairs], transformer)


MakeReformulator = Callable[..., LearnedReformulator]


@pytest.fixture
def random_reformulator(transformer: TransformerEncoder) -> MakeReformulator:
    """An untrained reformulator that turns queries far; with `spread` 0 it changes none."""

    def make(seed: int = 0, *, spread: float = 1.0) -> LearnedReformulator:
        rng = np.random.default_rng(seed)
        changes = add_low_rank(copy.deepcopy(transformer.model.network), 2)
        factors = {
            name: (
                rng.normal(size=tuple(change.a.shape)).astype(np.float16),
                rng.normal(scale=spread, size=tuple(change.b.shape)).astype(np.float16),
            )
            for name, change in changes.items()
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = LatentQueryNetwork(transformer.dim, 8)
            with torch.no_grad():
                for weight in (network.leave.weight, network.leave.bias):
                    weight.normal_(std=spread)
        return LearnedReformulator(transformer.fingerprint, factors, network.trained())

    return make


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

    def decide_with_spread(self, states: StateBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
        read = torch.cat(reads).numpy()
        return read, torch.cat(stops).numpy(), np.zeros_like(read)


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
            state = world.state(pool, evidence)
            states = batch_states([state])
            read, stop = (np.exp(t.astype(np.float64)) for t in policy.decide(states))
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
