from .data.pseudo_questions import pseudo_questions as pseudo_questions
from .data.training_data import (
    FeedbackSource as FeedbackSource,
    TrainingData as TrainingData,
    TrainingSet as TrainingSet,
)
from .training.encoders.cross_encoder_training import tune_cross_encoder as tune_cross_encoder
from .training.encoders.list_training import (
    ListTrainingConfig as ListTrainingConfig,
    TunedRanker as TunedRanker,
)
from .training.encoders.sparse_encoder_training import (
    SparseEncoderConfig as SparseEncoderConfig,
    tune_sparse_encoder as tune_sparse_encoder,
)
from .training.encoders.token_vectors import (
    TokenVectorsConfig as TokenVectorsConfig,
    tune_token_vectors as tune_token_vectors,
)
from .training.encoders.passage_encoder import (
    PassageEncoderConfig as PassageEncoderConfig,
    tune_passage_encoder as tune_passage_encoder,
)
from .environment.efforts import (
    Effort as Effort,
    effort as effort,
)
from .feedback.off_policy import (
    TuneConfig as TuneConfig,
    tune as tune,
)
from .feedback.learned_ranking import (
    RankingConfig as RankingConfig,
    RankedRecall as RankedRecall,
    learn_ranking as learn_ranking,
    rank_again as rank_again,
)
from .feedback.store_walkers import StoreWalkers as StoreWalkers
from .networks.feedback_ranking import FeedbackRanking as FeedbackRanking
from .networks.frozen_policy import FrozenPolicy as FrozenPolicy
from .networks.network_config import NetworkConfig as NetworkConfig
from .networks.policy_network import PolicyNetwork as PolicyNetwork
from .networks.relation_network import RelationScorer as RelationScorer
from .objectives.imitation import (
    LabelWeights as LabelWeights,
    imitation_loss as imitation_loss,
)
from .objectives.marginal import (
    load_reader as load_reader,
    marginal as marginal,
)
from .objectives.reinforce import reinforce as reinforce
from .objectives.rewards import Reward as Reward
from .objectives.rollout import (
    Trajectory as Trajectory,
    sample as sample,
)
from .policy import Policy as Policy
from .reading.marginal_run import (
    MarginalRun as MarginalRun,
    train_on_trails as train_on_trails,
)
from .reading.marginal_training import MarginalConfig as MarginalConfig
from .reading.reader_trainer import (
    ReaderConfig as ReaderConfig,
    train_reader as train_reader,
)
from .relations.relation_beam import RelationRetriever as RelationRetriever
from .relations.training import (
    RelationConfig as RelationConfig,
    train_relations as train_relations,
)
from .result import (
    Decided as Decided,
    RetrievalResult as RetrievalResult,
)
from .retriever import PolicyRetriever as PolicyRetriever
from .training.config import (
    RunOptions as RunOptions,
    TrainConfig as TrainConfig,
)
from .training.encoders.query_encoder import (
    QueryEncoderConfig as QueryEncoderConfig,
    tune_query_encoder as tune_query_encoder,
)
from .training.run import train as train
from .training.stages import Objective as Objective
