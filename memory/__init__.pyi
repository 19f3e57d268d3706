from .encoders.tuned.passage_tuned import PassageTunedEncoder as PassageTunedEncoder
from .encoders.tuned.query_tuned import QueryTunedEncoder as QueryTunedEncoder
from .encoders.tuned.token_tuned import TokenTunedEncoder as TokenTunedEncoder
from .encoders.query_cache import CacheInfo as CacheInfo
from .encoders.sentence_transformer import (
    SentenceTransformerEncoder as SentenceTransformerEncoder,
)
from .encoders.static import (
    StaticEncoder as StaticEncoder,
    load_encoder as load_encoder,
)
from .encoders.transformer import (
    Encoder as Encoder,
    TransformerEncoder as TransformerEncoder,
    minilm as minilm,
)
from .feedback import (
    Feedback as Feedback,
    LoggedRecall as LoggedRecall,
    LoggedTrail as LoggedTrail,
)
from .filters import Filter as Filter
from .index.ann_types import IndexName as IndexName
from .index.engines.qdrant import QdrantIndex as QdrantIndex
from .index.learned.rotation import Rotation as Rotation
from .index.learned.router import (
    Router as Router,
    kmeans_router as kmeans_router,
)
from .index.learned.semantic_ids import SemanticIds as SemanticIds
from .maintenance.checks import (
    Problem as Problem,
    Purged as Purged,
)
from .maintenance.export import Imported as Imported
from .maintenance.merging import (
    Merge as Merge,
    Pruned as Pruned,
    merge_duplicates as merge_duplicates,
)
from .maintenance.near_duplicates import (
    Distinct as Distinct,
    Duplicate as Duplicate,
)
from .maintenance.reencoding import Reencoding as Reencoding
from .passages.batches import Upserted as Upserted
from .passages.usage import History as History
from .search.codecs import (
    Half as Half,
    Product as Product,
    Scalar as Scalar,
    Sign as Sign,
)
from .search.compressed import (
    Clustered as Clustered,
    Clusters as Clusters,
    Compressed as Compressed,
)
from .search.rerankers.bi_encoder import BiEncoder as BiEncoder
from .search.rerankers.cross_encoder import CrossEncoder as CrossEncoder
from .search.first_stages import (
    Full as Full,
    Prefix as Prefix,
    Search as Search,
)
from .search.fit_fusion import (
    FusionExample as FusionExample,
    fit_per_query as fit_per_query,
    fit_weighted as fit_weighted,
    judge as judge,
)
from .search.fusion import (
    Fusion as Fusion,
    FusionInputs as FusionInputs,
    LinearFusion as LinearFusion,
    MinRank as MinRank,
    QueryAdaptiveFusion as QueryAdaptiveFusion,
    ReciprocalRank as ReciprocalRank,
    load_rule as load_rule,
    save_rule as save_rule,
)
from .search.generated_ids import GeneratedIds as GeneratedIds
from .search.learned_search import (
    learned_pipeline as learned_pipeline,
    load_learned_index as load_learned_index,
    reranked as reranked,
)
from .search.rerankers.judge import Judge as Judge
from .search.rerankers.prompt_judge import PromptJudge as PromptJudge
from .search.learned_sparse.sparse_encoder import SparseEncoder as SparseEncoder
from .search.learned_sparse.stage import LearnedSparse as LearnedSparse
from .search.late_interaction import MaxSim as MaxSim
from .search.pipeline import (
    Pipeline as Pipeline,
    PipelineResult as PipelineResult,
    Stage as Stage,
    StageCost as StageCost,
)
from .storage.postgres.grants import (
    grant_namespace as grant_namespace,
    revoke_namespace as revoke_namespace,
)
from .store import Store as Store
from .testing.conformance import StoreConformance as StoreConformance
from .testing.hash_encoder import HashEncoder as HashEncoder
