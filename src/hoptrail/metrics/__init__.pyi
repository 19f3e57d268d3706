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
