"""Options of `hoptrail encoder tune`, and which training each kind of model has."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hoptrail.cli.command import settings_of
from hoptrail.cli.options import option, path_option, whole_argument
from hoptrail.cli.settings_file import training_config
from hoptrail.errors import InputError

Kind = Literal["vectors", "cross-encoder", "sparse", "late-interaction"]

LISTS = "is for --kind cross-encoder, sparse or late-interaction"
"""Where options belong that vectors do not have."""

KindOption = Annotated[
    Kind,
    option(
        "--kind",
        parser=None,
        help="what is trained: the encoder's vectors, a cross-encoder that orders what search "
        "brings, learned weights of terms, or vectors of tokens (default: vectors)",
    ),
]
StartOption = Annotated[
    Path | None,
    path_option(
        "--start",
        metavar="DIR",
        help="with --kind cross-encoder: a cross-encoder to begin with (default: the encoder's "
        "weights and a new head)",
    ),
]
DepthOption = Annotated[
    int | None,
    option(
        "--depth",
        parser=whole_argument,
        metavar="N",
        help="with another --kind than vectors: how many of the best of the memory's own search "
        "wrong passages are drawn from, and a reranker orders anew (default: 50)",
    ),
]
QueryObjectiveOption = Annotated[
    Literal[
        "likelihood",
        "recall",
        "ndcg",
        "contrastive",
        "triplet",
        "pairwise",
        "listnet",
        "lambda",
        "margin",
        "binary",
    ]
    | None,
    option(
        "--objective",
        parser=None,
        help="the likelihood of the passages, a soft recall@5 or nDCG, or a loss of a list of "
        "candidates (default: likelihood; contrastive where lists are learned from)",
    ),
]
NegativesOption = Annotated[
    Literal["mined", "batch", "bank"] | None,
    option(
        "--negatives",
        parser=None,
        help="of a list: what the batch needs and the wrong passages that score highest, the "
        "first alone, or every passage (default: mined)",
    ),
]
TuningSetsOption = Annotated[
    list[Path] | None,
    path_option(
        "--set",
        metavar="CORPUS QUESTIONS",
        help="a corpus (or a store) and questions that name their supporting passages; repeatable",
    ),
]
ClozeCorporaOption = Annotated[
    list[Path] | None,
    path_option(
        "--corpus",
        metavar="PATH…",
        help="with --cloze: corpora or stores to make them of (default: those of --set)",
    ),
]
ClozeTuningOption = Annotated[
    int | None,
    option(
        "--cloze",
        parser=whole_argument,
        metavar="N",
        help="also learn from N questions that are words of a passage and ask for it",
    ),
]
FeedbackOption = Annotated[
    Path | None,
    path_option(
        "--from-feedback",
        metavar="STORE",
        help="a memory whose judged recalls are learned from: what was useful should be found",
    ),
]
SideOption = Annotated[
    Literal["query", "passage", "both"] | None,
    option(
        "--side",
        parser=None,
        help="of vectors, what is trained: how questions are encoded, passages, or both by the "
        "same weights; but for the first, a memory is encoded anew afterwards (default: query)",
    ),
]
MaxAgeOption = Annotated[
    int | None,
    option(
        "--max-age",
        parser=whole_argument,
        metavar="N",
        help="with --side passage or both: steps that a vector of the index may be old while the "
        "encoder moves (default: 50)",
    ),
]
IndexCodesOption = Annotated[
    Literal["float16", "int8", "int4", "sign"] | None,
    option(
        "--codes",
        parser=None,
        help="with --side passage or both: in which codes that index keeps its vectors "
        "(default: whole)",
    ),
]
PrefixesOption = Annotated[
    str | None,
    option(
        "--dims",
        metavar="M,M…",
        help="with --side passage or both: prefixes that are to rank as all do, ascending",
    ),
]


def training_of(
    context: typer.Context,
    kind: Kind,
    settings: Mapping[str, Any],
    of_vectors: Mapping[str, Any],
    of_rankers: Mapping[str, Any],
    *,
    start: Path | None = None,
    resume: bool = False,
) -> partial[Any]:
    """What trains a kind of model, with its settings.

    Args:
        context: The command's.
        kind: As `--kind` names it.
        settings: Of every kind, by name; None for an option that was left out.
        of_vectors: Settings that only vectors have, likewise.
        of_rankers: Settings that only what orders lists has, likewise.
        start: What a ranker begins with.
        resume: Whether a ranker goes on from a checkpoint.

    Raises:
        InputError: An option is given that the kind does not have.
        ConfigError: A setting is wrong.
    """
    chosen = settings_of(settings)
    if kind == "vectors":
        _refuse({**of_rankers, "resume": resume or None}, LISTS)
    else:
        _refuse(of_vectors, "is for --kind vectors")
    if kind != "cross-encoder":
        _refuse({"start": start}, "is for --kind cross-encoder")
    if kind == "vectors":
        return _vector_training(context, chosen, settings_of(of_vectors))
    return _ranker_training(context, kind, {**chosen, **settings_of(of_rankers)}, start, resume)


def _ranker_training(
    context: typer.Context, kind: Kind, settings: dict[str, Any], start: Path | None, resume: bool
) -> partial[Any]:
    """What trains a model of lists."""
    from hoptrail.policies.training.encoders.cross_encoder_training import tune_cross_encoder
    from hoptrail.policies.training.encoders.list_training import ListTrainingConfig
    from hoptrail.policies.training.encoders.sparse_encoder_training import (
        SparseEncoderConfig,
        tune_sparse_encoder,
    )
    from hoptrail.policies.training.encoders.token_vectors import (
        TokenVectorsConfig,
        tune_token_vectors,
    )

    if kind == "late-interaction":
        config = training_config(context, TokenVectorsConfig, settings)
        return partial(tune_token_vectors, config=config, resume=resume)
    if kind == "sparse":
        sparse = training_config(context, SparseEncoderConfig, settings)
        return partial(tune_sparse_encoder, config=sparse, resume=resume)
    lists = training_config(context, ListTrainingConfig, settings)
    return partial(tune_cross_encoder, config=lists, start=start, resume=resume)


def _vector_training(
    context: typer.Context, settings: dict[str, Any], of_vectors: dict[str, Any]
) -> partial[Any]:
    """What trains a side of an encoder; options that the query side does not have are refused."""
    from hoptrail.policies.training.encoders.passage_encoder import (
        PassageEncoderConfig,
        tune_passage_encoder,
    )
    from hoptrail.policies.training.encoders.query_encoder import (
        QueryEncoderConfig,
        tune_query_encoder,
    )

    side = of_vectors.pop("side", "query")
    if "negatives" in of_vectors:
        settings["negatives"] = of_vectors.pop("negatives")
    if side != "query":
        settings |= {"side": side, **of_vectors}
        config = training_config(context, PassageEncoderConfig, settings)
        return partial(tune_passage_encoder, config=config)
    _refuse(of_vectors, "is for --side passage or both: the query side leaves the index as it is")
    query_config = training_config(context, QueryEncoderConfig, settings)
    return partial(tune_query_encoder, config=query_config)


def _refuse(options: Mapping[str, Any], why: str) -> None:
    """Refuse the first option that was given, of those that a training does not have."""
    for name in settings_of(options):
        raise InputError(f"--{name.replace('_', '-')} {why}")
