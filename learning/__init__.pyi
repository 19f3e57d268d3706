from .answering.extractive_reader import ExtractiveReader as ExtractiveReader
from .retrieval.collapse import (
    CollapseMonitor as CollapseMonitor,
    VectorHealth as VectorHealth,
    alignment as alignment,
    effective_rank as effective_rank,
    hubness as hubness,
    retrieval_entropy as retrieval_entropy,
    uniformity as uniformity,
    vector_health as vector_health,
)
from .distillation import (
    DistillConfig as DistillConfig,
    distill as distill,
)
from .estimators.implicit import implicit_top_k as implicit_top_k
from .generation.decoding import (
    DecodedAnswer as DecodedAnswer,
    decode_sequence as decode_sequence,
    decode_token as decode_token,
)
from .generation.generator import (
    AnswerTokens as AnswerTokens,
    Generator as Generator,
)
from .generation.joint_training import (
    RagConfig as RagConfig,
    RagExample as RagExample,
    rag_figures as rag_figures,
    train_rag as train_rag,
)
from .generation.likelihood import (
    rag_sequence as rag_sequence,
    rag_token as rag_token,
)
from .generation.query_tower import QueryTower as QueryTower
from .generation.rag_model import (
    Contexts as Contexts,
    RagModel as RagModel,
    TrailContext as TrailContext,
)
from .indexes.id_training import (
    IdDecoder as IdDecoder,
    SemanticIdsConfig as SemanticIdsConfig,
    learn_semantic_ids as learn_semantic_ids,
)
from .indexes.labelled_queries import LabelledQueries as LabelledQueries
from .indexes.moving_index import (
    MovingIndex as MovingIndex,
    Staleness as Staleness,
)
from .indexes.serving_error import (
    GradientFidelity as GradientFidelity,
    ServingError as ServingError,
    gradient_fidelity as gradient_fidelity,
    serving_error as serving_error,
)
from .indexes.matryoshka import (
    MatryoshkaConfig as MatryoshkaConfig,
    learn_rotation as learn_rotation,
    matryoshka_loss as matryoshka_loss,
    principal_rotation as principal_rotation,
)
from .indexes.routing import (
    RoutingConfig as RoutingConfig,
    learn_router as learn_router,
    routing_costs as routing_costs,
    routing_loss as routing_loss,
)
from .losses import (
    info_nce_loss as info_nce_loss,
    listwise_loss as listwise_loss,
    pairwise_logistic_loss as pairwise_logistic_loss,
    retrieval_likelihood_loss as retrieval_likelihood_loss,
)
from .marginal import (
    Marginal as Marginal,
    marginal_likelihood as marginal_likelihood,
)
from .masked import (
    masked_log_softmax as masked_log_softmax,
    masked_logsumexp as masked_logsumexp,
)
from .estimators.policy_gradient import (
    entropy as entropy,
    evidence_reward as evidence_reward,
    leave_one_out_advantages as leave_one_out_advantages,
    reinforce_loss as reinforce_loss,
)
from .ranking_losses import (
    binary_loss as binary_loss,
    lambda_loss as lambda_loss,
    listnet_loss as listnet_loss,
    margin_distillation_loss as margin_distillation_loss,
    candidate_loss as candidate_loss,
    ScoredCandidates as ScoredCandidates,
    triplet_loss as triplet_loss,
)
from .reader.answers import (
    match_spans as match_spans,
    normalize_answer as normalize_answer,
)
from .reader.span_reader import (
    Reading as Reading,
    SpanReader as SpanReader,
    Target as Target,
    answer_target as answer_target,
    no_answer_target as no_answer_target,
    target_log_prob as target_log_prob,
)
from .estimators.relaxed import (
    OrderedSample as OrderedSample,
    gumbel_noise as gumbel_noise,
    gumbel_top_k as gumbel_top_k,
    plackett_luce_log_prob as plackett_luce_log_prob,
    relaxed_top_k as relaxed_top_k,
    straight_through_top_k as straight_through_top_k,
    temperature_softmax as temperature_softmax,
)
from .retrieval.attention import MemoryAttention as MemoryAttention
from .retrieval.mass import (
    log_mass_bound as log_mass_bound,
    log_mass_bound_of_moments as log_mass_bound_of_moments,
    share_bound as share_bound,
)
from .retrieval.operator import (
    RetrievalOperator as RetrievalOperator,
    SoftRead as SoftRead,
)
from .retrieval.selection import (
    Selection as Selection,
    selection_weights as selection_weights,
)
from .retrieval.soft_lists import (
    ProbeError as ProbeError,
    SoftLists as SoftLists,
    probe_error as probe_error,
    soft_probe_log_probs as soft_probe_log_probs,
)
from .retrieval.soft_ranking import (
    neural_sort as neural_sort,
    soft_ndcg as soft_ndcg,
    soft_ranks as soft_ranks,
    soft_recall as soft_recall,
)
from .set_likelihood import (
    set_log_likelihood as set_log_likelihood,
    subset_code as subset_code,
    subsets as subsets,
)
from .estimators.stochastic_beam import (
    children as children,
    importance_weights as importance_weights,
    log_inclusion as log_inclusion,
    sampled_policy_loss as sampled_policy_loss,
)
