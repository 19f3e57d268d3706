__version__: str

from .api.async_memory import AsyncMemory as AsyncMemory
from .api.insight.journal import JournalEntry as JournalEntry, JournalHit as JournalHit
from .api.insight.pictures import Neighbourhood as Neighbourhood
from .api.memory import Memory as Memory
from .errors import (
    ConfigError as ConfigError,
    DuplicateId as DuplicateId,
    EncoderMismatch as EncoderMismatch,
    EncoderMissing as EncoderMissing,
    FormatError as FormatError,
    HoptrailError as HoptrailError,
    HubError as HubError,
    InputError as InputError,
    MissingExtra as MissingExtra,
    PolicyError as PolicyError,
    ReaderError as ReaderError,
    SchemaMismatch as SchemaMismatch,
    StoreBusy as StoreBusy,
    StoreError as StoreError,
    StoreUnavailable as StoreUnavailable,
    UnknownId as UnknownId,
)
from .evaluation.evaluate import evaluate as evaluate
from .formats.jsonl import (
    read_corpus as read_corpus,
    read_questions as read_questions,
    read_source as read_source,
)
from .formats.sequences import in_sequence as in_sequence
from .graph.graph import Graph as Graph
from .memory.encoders.static import StaticEncoder as StaticEncoder
from .memory.encoders.transformer import (
    Encoder as Encoder,
    TransformerEncoder as TransformerEncoder,
    minilm as minilm,
)
from .memory.feedback import Feedback as Feedback
from .memory.filters import Filter as Filter
from .memory.store import Store as Store
from .outputs.hub import fetch_from_hub as fetch_from_hub, push_to_hub as push_to_hub
from .policies.policy import Policy as Policy
from .policies.training.config import TrainConfig as TrainConfig
from .policies.training.run import train as train
from .types import (
    AbstainingReader as AbstainingReader,
    Answer as Answer,
    Cost as Cost,
    Evidence as Evidence,
    Hit as Hit,
    HitSource as HitSource,
    Hop as Hop,
    Link as Link,
    Metadata as Metadata,
    Namespace as Namespace,
    Passage as Passage,
    Question as Question,
    Reader as Reader,
    Recall as Recall,
    Shares as Shares,
    Trail as Trail,
)
