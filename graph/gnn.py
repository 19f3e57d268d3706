"""Query-conditioned relational message passing over the query's own subgraph.

    h_i' = h_i + U[ h_i ‖ (1/√|N_r(i)| Σ_{j ∈ N_r(i)} g_ij ⊙ W_r h_j)_r ‖ mean_k h_k ]
    g_ij = σ(a_r w_ij + B_r c)

with one sum for each relation r, edge weights w, and c the scalars that describe the question and
the state: they open and close relations. The form follows relational graph convolutions
(Schlichtkrull et al. 2018, arXiv:1703.06103, eq. 2) with the per-query gate of query-conditioned
networks (Zhu et al. 2021, arXiv:2106.06935); we normalise by the root of the degree, so that a
candidate named by many keeps some of the advantage.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import scatter as untyped_scatter

from hoptrail.graph.gnn_weights import RelationalWeights


def scatter(
    values: Tensor, index: Tensor, *, dim_size: int, reduce: Literal["sum", "mean", "max"]
) -> Tensor:
    """The sum, mean or largest of the rows that share an index, `(dim_size, ...)`; 0 of none.

    Args:
        values: `(n, ...)`.
        index: `(n,)` int64, below `dim_size`.
        dim_size: How many rows come out.
        reduce: What is made of those that share an index.
    """
    reduced: Tensor = untyped_scatter(values, index, dim_size=dim_size, reduce=reduce)
    return reduced


class RelationalLayer(MessagePassing):
    """One round of message passing.

    Args:
        weights: What it learns; they stay where they are, and are shared with it.

    Shapes:
        h `(n, d)`, edge_index `(2, e)`, edge_kind `(e,)` int64, edge_weight `(e,)`,
        condition `(b, c)`, batch `(n,)` int64 with values below b; the result `(n, d)`.
    """

    def __init__(self, weights: RelationalWeights) -> None:
        super().__init__(aggr="sum")
        self.width, self.relations = weights.width, weights.relations
        self.transform = weights.transform
        self.weight_gate = weights.weight_gate
        self.condition_gate = weights.condition_gate
        self.update_node = weights.update_node

    def forward(
        self,
        h: Tensor,
        edge_index: Tensor,
        edge_kind: Tensor,
        edge_weight: Tensor,
        condition: Tensor,
        batch: Tensor,
    ) -> Tensor:
        """The nodes after one round, `(n, d)`.

        Args:
            h: `(n, d)`, the nodes.
            edge_index: `(2, e)` int64: from, to.
            edge_kind: `(e,)` int64, below R.
            edge_weight: `(e,)`.
            condition: `(b, c)`, the scalars of each state.
            batch: `(n,)` int64, the state of each node.
        """
        n, d, kinds = h.shape[0], self.width, self.relations
        source, target = edge_index
        # A row for each (node, relation), so that one pass serves all relations.
        sent = self.transform(h).view(n * kinds, d)
        into = target * kinds + edge_kind
        rows = torch.stack([source * kinds + edge_kind, into])
        opened = self.condition_gate(condition).view(-1, kinds, d)[batch[target], edge_kind]
        gate = torch.sigmoid(opened + self.weight_gate[edge_kind] * edge_weight[:, None])
        received = self.propagate(rows, x=sent, gate=gate, size=(n * kinds, n * kinds))
        degree = scatter(torch.ones_like(edge_weight), into, dim_size=n * kinds, reduce="sum")
        received = (received / degree.clamp(min=1.0).sqrt()[:, None]).view(n, kinds * d)
        mean = scatter(h, batch, dim_size=condition.shape[0], reduce="mean")
        change: Tensor = self.update_node(torch.cat([h, received, mean[batch]], dim=1))
        return h + change

    def message(self, x_j: Tensor, gate: Tensor) -> Tensor:
        """A gated message along each edge, `(e, d)`.

        Args:
            x_j: `(e, d)`, what the source sends for the kind of edge.
            gate: `(e, d)`, in (0, 1).
        """
        return x_j * gate

    def __repr__(self) -> str:
        return f"RelationalLayer({self.width}, relations={self.relations})"
