from .answer_scores import (
    RULES as RULES,
    AnswerRules as AnswerRules,
    Overlap as Overlap,
    answer_form as answer_form,
    answer_rules as answer_rules,
    pair_sufficiency as pair_sufficiency,
    score_answer as score_answer,
    score_jointly as score_jointly,
    score_support as score_support,
)
from .bootstrap import (
    Bootstrap as Bootstrap,
    Interval as Interval,
)
from .ranking import (
    all_gold_at as all_gold_at,
    ndcg_at as ndcg_at,
    precision_at as precision_at,
    recall_at as recall_at,
    reciprocal_rank as reciprocal_rank,
)
from .reliability import (
    Bin as Bin,
    calibration_error as calibration_error,
    calibration_interval as calibration_interval,
    reliability as reliability,
)
from .separation import auroc as auroc
