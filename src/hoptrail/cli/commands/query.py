"""The commands that ask a memory: recall, search, list, get; and mcp, by which others ask it."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

from hoptrail.cli.app import AROUND, EVERY_DAY, app, command
from hoptrail.cli.opening import open_memory, waiting
from hoptrail.cli.options import (
    AsOfOption,
    CountOption,
    EffortOption,
    EncoderOption,
    FilterOption,
    HtmlOption,
    IdsArgument,
    IndexOption,
    JsonFlag,
    LearnedOption,
    Mode,
    NamespaceOption,
    PolicyOption,
    ReaderOption,
    StoreOption,
    argument,
    option,
    path_option,
    toggle,
    whole_argument,
)
from hoptrail.cli.printing import passage_lines, print_json, say
from hoptrail.cli.recall_limits import (
    BudgetOption,
    LimitOption,
    MinScoreOption,
    PatienceOption,
    ServedBudgetOption,
    UntilOption,
    check_limits,
    completeness_line,
)
from hoptrail.cli.server_options import (
    AllowHostOption,
    HostOption,
    RateOption,
    TokensOption,
    port_option,
    served_memory,
    tokens_of,
)
from hoptrail.errors import InputError
from hoptrail.outputs.output_files import output_path
from hoptrail.outputs.printable import namespace_text
from hoptrail.outputs.replaceable import check_page

if TYPE_CHECKING:
    from hoptrail.cli.locations import StoreLocation
    from hoptrail.memory.index.learned.router import Router
    from hoptrail.memory.search.learned_search import LearnedIndex
    from hoptrail.memory.search.learned_sparse.stage import SparseMode
    from hoptrail.memory.search.pipeline import Pipeline
    from hoptrail.types import Namespace, Recall


@command(
    app,
    "recall",
    panel=EVERY_DAY,
    examples="""
recall --store agent.db "Where was the designer of the Fram born?"
recall --store agent.db --trail "Where was the designer of the Fram born?"
recall --store agent.db --why "Where was the designer of the Fram born?"
recall --store agent.db --k 10 --effort fast --json "Who taught Ada?"
recall --store agent.db --until complete --tokens 2000 "Who taught Ada?"
recall --store agent.db --patience 20 "Who taught Ada?"
recall --store agent.db --html walk.html "Who taught Ada?"
recall --store agent.db --as-of 2026-01-31 "Where does Ann live?"
recall --store agent.db --policy my-policy --namespace team "Who wrote it?\"""",
)
def recall_passages(
    store: StoreOption,
    question: Annotated[str, argument("QUESTION", "what is to be answered")],
    namespace: NamespaceOption = None,
    k: LimitOption = None,
    effort: EffortOption = "balanced",
    filter: FilterOption = None,
    as_of: AsOfOption = None,
    until: UntilOption = None,
    tokens: BudgetOption = None,
    min_score: MinScoreOption = None,
    patience: PatienceOption = None,
    policy: PolicyOption = None,
    encoder: EncoderOption = None,
    index: IndexOption = "auto",
    trail: Annotated[
        bool, toggle("--trail", "print the trails, hop by hop, beside plain vector search")
    ] = False,
    why: Annotated[
        bool, toggle("--why", "print what each score is made of, and what brought the passage in")
    ] = False,
    html: HtmlOption = None,
    json: JsonFlag = False,
) -> int:
    """Walk a memory for the passages that a question needs.

    Prints the passages, each with the probability that it is needed, and the probability that they
    suffice; with --trail, how they were found as well, and with --why, what the scores are made of.
    """
    from hoptrail.api.hit_selection import USUAL
    from hoptrail.formats.json_views import recall_data

    scope, count = namespace or (), USUAL if k is None else k
    check_limits(trail, until, tokens, min_score, patience)
    if html is not None:
        check_page(html, inputs=store.files)
    with open_memory(store, encoder=encoder, policy=policy, index=index, one_thread=True) as memory:
        if trail and not json:
            from hoptrail.cli import output

            answer = output.show_walk(
                memory, question, count, effort, namespace=scope, filter=filter, as_of=as_of
            )
        else:
            with waiting("walking the memory"):
                answer = memory.recall(
                    question,
                    k,
                    scope,
                    effort,
                    filter=filter,
                    as_of=as_of,
                    until=until,
                    tokens=tokens,
                    min_score=min_score,
                    patience=patience,
                )
    if html is not None:
        output_path(html).write_text(answer.to_html(), encoding="utf-8")
    if json:
        print_json(recall_data(answer))
    else:
        _print_recall(replace(answer, hits=answer.hits[: count if trail else None]), trail, why)
    return 0


def _print_recall(recall: Recall, trail: bool, why: bool) -> None:
    """The passages for a person, how probably they suffice, and the cost where no trail has it."""
    from hoptrail.cli import output

    console = output.output()
    console.print(output.hits_table(recall.hits, width=console.width, why=why))
    if recall.hits:
        say(completeness_line(recall))
    if not trail:
        console.print(output.cost_line(recall.cost))


@command(
    app,
    "search",
    panel=EVERY_DAY,
    examples="""
search --store agent.db "ice ages"
search --store agent.db --mode sparse --k 10 "Milankovitch"
search --store agent.db --reranker crossed --depth 20 "ice ages"
search --store agent.db --filter '{"year": {"$gte": 2001}}' "ice ages\"""",
)
def search_passages(
    store: StoreOption,
    query: Annotated[str, argument("QUERY", "what is looked for")],
    namespace: NamespaceOption = None,
    k: CountOption = 5,
    mode: Annotated[
        Mode, option("--mode", parser=None, help="by meaning, by words, or both (default: hybrid)")
    ] = "hybrid",
    filter: FilterOption = None,
    as_of: AsOfOption = None,
    encoder: EncoderOption = None,
    index: IndexOption = "auto",
    learned: LearnedOption = None,
    reranker: Annotated[
        Path | None,
        path_option(
            "--reranker",
            metavar="DIR",
            help="order the best of the search anew by the cross-encoder or the vectors of tokens "
            "in this folder",
        ),
    ] = None,
    depth: Annotated[
        int | None,
        option(
            "--depth",
            parser=whole_argument,
            metavar="N",
            help="with --reranker: how many of the best (default: 50)",
        ),
    ] = None,
    json: JsonFlag = False,
) -> int:
    """Find passages in one hop.

    No policy, no trail: the indexes' own ranking, or a reranker's.
    """
    from hoptrail.formats.json_views import hit_data

    scope = namespace or ()
    pipeline, kind = _pipeline(mode, k, index, learned, reranker, depth)
    with (
        waiting("searching"),
        open_memory(store, encoder=encoder, index=kind, one_thread=True) as memory,
    ):
        hits = memory.search(
            query,
            k,
            scope,
            mode="hybrid" if pipeline else mode,  # a pipeline has its own
            filter=filter,
            pipeline=pipeline,
            as_of=as_of,
        )
    if json:
        print_json({"query": query, "passages": [hit_data(hit) for hit in hits]})
    elif not hits:
        condition = " that fulfils the filter" if filter else ""
        say(f"no passage {_where(store, scope)}{condition} was a hit", stream=sys.stderr)
    else:
        from hoptrail.cli import output

        console = output.output()
        console.print(output.hits_table(hits, width=console.width))
    return 0


def _pipeline(
    mode: Mode,
    k: int,
    index: str,
    learned: Path | None,
    reranker: Path | None,
    depth: int | None,
) -> tuple[Pipeline | None, str | Router]:
    """What searches, if not the store by itself, and the dense index that the store has."""
    if depth is not None and reranker is None:
        raise InputError("--depth is for --reranker: how many of the best it orders anew")
    if learned is None and reranker is None:
        return None, index
    from hoptrail.memory.index.learned.router import Router
    from hoptrail.memory.search.learned_search import (
        RERANKED,
        learned_pipeline,
        load_learned_index,
        reranked,
    )

    count = k if reranker is None else max(k, RERANKED if depth is None else depth)
    pipeline, kind = None, cast("str | Router", index)
    if learned is not None:
        loaded = load_learned_index(learned)
        pipeline = learned_pipeline(loaded, count, mode=_sparse_mode(mode, loaded))
        kind = loaded if isinstance(loaded, Router) else index
    if reranker is not None:
        pipeline = reranked(reranker, k, mode=mode, depth=count, first=pipeline)
    return pipeline, kind


def _sparse_mode(mode: Mode, learned: LearnedIndex) -> SparseMode:
    """How a sparse encoder ranks; the other learned indexes rank by meaning alone."""
    from hoptrail.memory.search.learned_sparse.sparse_encoder import SparseEncoder

    if mode == "hybrid":
        return "hybrid"
    if not isinstance(learned, SparseEncoder):
        raise InputError(
            f"a file of hoptrail index ranks by meaning: leave --mode out, got --mode {mode}"
        )
    if mode == "dense":
        raise InputError("a sparse encoder ranks by words: give --mode sparse or hybrid")
    return "sparse"


def _where(store: StoreLocation, scope: Namespace) -> str:
    """Where it was looked, for a person who finds nothing."""
    return f"in {namespace_text(scope)} of {store}" if scope else f"in {store}"


@command(
    app,
    "list",
    panel=EVERY_DAY,
    examples="""
list --store agent.db
list --store agent.db --namespace team/ann --limit 100
list --store agent.db --json""",
)
def list_passages(
    store: StoreOption,
    namespace: NamespaceOption = None,
    limit: Annotated[
        int,
        option("--limit", parser=whole_argument, metavar="N", help="passages (default: 20)"),
    ] = 20,
    as_of: AsOfOption = None,
    json: JsonFlag = False,
) -> int:
    """List passages by namespace and id."""
    from hoptrail.api.inputs import parse_scope
    from hoptrail.formats.jsonl import passage_record

    if limit < 1:
        raise InputError(f"--limit must be a whole number of at least 1, got {limit}")
    scope = namespace or ()
    with open_memory(store, read_only=True) as memory:
        passages = list(islice(memory.store.passages(parse_scope(scope, as_of)), limit))
        total = memory.count(scope, as_of=as_of)
    if json:
        print_json({"passages": [passage_record(one) for one in passages], "count": total})
        return 0
    if not passages:
        say(f"there is no passage {_where(store, scope)}", stream=sys.stderr)
        return 0
    from hoptrail.cli import output

    console = output.output()
    console.print(output.passages_table(passages, width=console.width))
    if total > len(passages):
        say(f"{len(passages)} of {total} passages: --limit shows more", stream=sys.stderr)
    return 0


@command(
    app,
    "get",
    panel=EVERY_DAY,
    examples="""
get --store agent.db marie-curie
get --store agent.db --namespace team/ann --json note-1 note-2""",
)
def get_passages(
    store: StoreOption,
    ids: IdsArgument,
    namespace: NamespaceOption = None,
    as_of: AsOfOption = None,
    json: JsonFlag = False,
) -> int:
    """Print passages by id."""
    from hoptrail.formats.jsonl import passage_record

    with open_memory(store, read_only=True) as memory:
        passages = [memory.get(id_, namespace or (), as_of=as_of) for id_ in ids]
    if json:
        print_json([passage_record(passage) for passage in passages])
        return 0
    sys.stdout.write("".join(map(passage_lines, passages)))
    return 0


TransportOption = Annotated[
    Literal["stdio", "http"],
    option(
        "--transport",
        parser=None,
        help="stdio for the one client that starts this, http for many (default: stdio)",
    ),
]


@command(
    app,
    "mcp",
    panel=AROUND,
    examples="""
mcp --store agent.db
mcp --store agent.db --namespace team/ann --read-only
mcp --store agent.db --transport http --port 8000
mcp --store agent.db --transport http --host 0.0.0.0 --allow-host example.org --tokens t.json""",
)
def serve_mcp(
    store: StoreOption,
    namespace: NamespaceOption = None,
    k: LimitOption = None,
    effort: EffortOption = "balanced",
    until: UntilOption = None,
    recall_tokens: ServedBudgetOption = None,
    min_score: MinScoreOption = None,
    patience: PatienceOption = None,
    policy: PolicyOption = None,
    reader: ReaderOption = None,
    encoder: EncoderOption = None,
    read_only: Annotated[bool, toggle("--read-only", "offer nothing that writes")] = False,
    transport: TransportOption = "stdio",
    host: HostOption = "127.0.0.1",
    port: Annotated[int, port_option(8000)] = 8000,
    tokens: TokensOption = None,
    allow_host: AllowHostOption = None,
    calls_per_minute: RateOption = 600,
) -> int:
    """Serve a memory over MCP, the Model Context Protocol.

    Clients get tools to recall, search, remember, update, forget, link and judge, with --reader
    also to ask, and passages as resources. Over stdio, stdout carries the protocol and nothing
    else.
    """
    from hoptrail.integrations.mcp_server.serving import serve
    from hoptrail.integrations.operations.recall_bounds import RecallBounds

    bounds = RecallBounds(until, recall_tokens, min_score, patience)
    access = tokens_of(tokens)
    with served_memory(
        store, read_only=read_only, encoder=encoder, policy=policy, reader=reader
    ) as memory:
        serve(
            memory,
            transport=transport,
            namespace=namespace or (),
            k=k,
            effort=effort,
            bounds=bounds,
            read_only=read_only,
            host=host,
            port=port,
            tokens=access,
            allowed_hosts=allow_host or (),
            calls_per_minute=calls_per_minute,
            announce=lambda url: say(f"listening at {url}", stream=sys.stderr),
        )
    return 0
