from .benchmarks.prediction_files import (
    Prediction as Prediction,
    read_predictions as read_predictions,
    write_predictions as write_predictions,
    write_trec_qrels as write_trec_qrels,
    write_trec_run as write_trec_run,
)
from .benchmarks.question_sets import (
    QuestionSet as QuestionSet,
    is_question_set as is_question_set,
    read_question_set as read_question_set,
)
from .documents import passages_of as passages_of
from .folders import read_folder as read_folder
from .jsonl import (
    read_corpus as read_corpus,
    read_questions as read_questions,
    read_source as read_source,
    write_jsonl as write_jsonl,
)
from .readers.chat_messages import chat_passages as chat_passages
from .readers.registry import FileContent as FileContent, FileReader as FileReader
from .sequences import in_sequence as in_sequence
from .triples import (
    EntityQuestion as EntityQuestion,
    entities as entities,
    read_entity_questions as read_entity_questions,
    read_triples as read_triples,
)
