from .answers.reader_run import (
    ReaderRun as ReaderRun,
)
from .answers.exports import (
    export_predictions as export_predictions,
    export_runs as export_runs,
)
from .answers.grading import (
    AnswerJudge as AnswerJudge,
)
from .answers.official_scores import (
    score_predictions as score_predictions,
)
from .answers.reading_curve import (
    plot_reading as plot_reading,
)
from .benchmark import (
    Decision as Decision,
    Ranking as Ranking,
    Result as Result,
    Retriever as Retriever,
    run as run,
)
from .comparison import (
    compare_reports as compare_reports,
    paired_rows as paired_rows,
)
from .entity_questions import (
    EntitySettings as EntitySettings,
    TopicPageRank as TopicPageRank,
    evaluate_entities as evaluate_entities,
)
from .evaluate import (
    Settings as Settings,
    evaluate as evaluate,
)
from .gate import (
    Verdict as Verdict,
    judge_by_feedback as judge_by_feedback,
    judge_in_turn as judge_in_turn,
    judge_by_questions as judge_by_questions,
)
from .report import (
    answer_rows as answer_rows,
    build_report as build_report,
    comparison_rows as comparison_rows,
    load_report as load_report,
    plot_recall as plot_recall,
    recall_curves as recall_curves,
    save_report as save_report,
    summary_rows as summary_rows,
)
from .retrievers import (
    IndexRetriever as IndexRetriever,
    PageRankRetriever as PageRankRetriever,
    RecallRetriever as RecallRetriever,
    baseline as baseline,
)
from .stopping import (
    plot_calibration as plot_calibration,
    set_measures as set_measures,
    stopping as stopping,
)
from .use import (
    Update as Update,
    learn_from_use as learn_from_use,
)
from .training_curves import (
    plot_training as plot_training,
)
