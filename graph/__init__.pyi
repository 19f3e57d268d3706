from .audit import (
    Audit as Audit,
    audit as audit,
)
from .convert import (
    to_networkx as to_networkx,
    to_pyg as to_pyg,
)
from .extraction.entities import (
    EntityMention as EntityMention,
    find_aliases as find_aliases,
    find_entities as find_entities,
)
from .gnn import RelationalLayer as RelationalLayer
from .gnn_weights import RelationalWeights as RelationalWeights
from .graph import Graph as Graph
from .ranking.local_push import LocalPush as LocalPush
from .ranking.pagerank import (
    pagerank_ranking as pagerank_ranking,
    starting_points as starting_points,
)
from .view import (
    GraphView as GraphView,
    Mention as Mention,
)
