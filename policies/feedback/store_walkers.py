"""Walking a store again as recalls of it walked: by their namespace, their effort, their filter."""

from __future__ import annotations

from dataclasses import dataclass, field

from hoptrail.graph.graph import Graph
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.store import Store
from hoptrail.policies.environment.efforts import effort
from hoptrail.policies.policy import Policy
from hoptrail.policies.retriever import PolicyRetriever
from hoptrail.types import Namespace


@dataclass(slots=True)
class StoreWalkers:
    """Retrievers over a store's scopes, all with one policy, each made when it is first asked for.

    Args:
        store: What is walked.
        encoder: The store's.
        policy: That walks.
    """

    store: Store
    encoder: Encoder
    policy: Policy
    _graph: Graph | None = None
    _known: dict[tuple[Namespace, str], PolicyRetriever] = field(default_factory=dict)

    def of(self, namespace: Namespace, effort_name: str) -> PolicyRetriever:
        """The retriever for a scope at an effort.

        Args:
            namespace: The scope: every namespace that begins with it.
            effort_name: As a recall was given it.
        """
        walker = self._known.get((namespace, effort_name))
        if walker is None:
            if self._graph is None:
                self._graph = Graph(self.store)
            view = self.store.view(namespace)
            graph = self._graph.view(view)
            bounds = effort(effort_name)
            walker = PolicyRetriever(self.policy, view, graph, self.encoder, bounds)
            self._known[namespace, effort_name] = walker
        return walker
