"""The command that serves a memory over HTTP: serve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from hoptrail.cli.app import AROUND, app, command
from hoptrail.cli.options import (
    EffortOption,
    EncoderOption,
    NamespaceOption,
    PolicyOption,
    ReaderOption,
    StoreOption,
    option,
    toggle,
    whole_argument,
)
from hoptrail.cli.printing import say
from hoptrail.cli.recall_limits import (
    LimitOption,
    MinScoreOption,
    PatienceOption,
    ServedBudgetOption,
    UntilOption,
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
from hoptrail.errors import MissingExtra
from hoptrail.policies.reading.shipped_reader import SHIPPED_NAME

SecondsOption = Annotated[
    int,
    option(
        "--call-seconds",
        parser=whole_argument,
        metavar="N",
        help="until a call is answered, if only by saying that it takes longer (default: 30)",
    ),
]
TogetherOption = Annotated[
    int,
    option(
        "--recalls-together",
        parser=whole_argument,
        metavar="N",
        help="recalls walked as one where they arrive together (default: 32)",
    ),
]


@command(
    app,
    "serve",
    panel=AROUND,
    examples="""
serve --store agent.db
serve --store agent.db --namespace team/ann --read-only --port 9000
serve --store agent.db --host 0.0.0.0 --allow-host memory.example.org --tokens tokens.json""",
)
def serve_memory(
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
    host: HostOption = "127.0.0.1",
    port: Annotated[int, port_option(8080)] = 8080,
    tokens: TokensOption = None,
    allow_host: AllowHostOption = None,
    calls_per_minute: RateOption = 600,
    call_seconds: SecondsOption = 30,
    recalls_together: TogetherOption = 32,
) -> int:
    """Serve a memory over HTTP, JSON in and out.

    Programs recall, search, ask, remember, update, supersede, forget, link and judge, each by a
    POST to /v1/NAME. Prints the address; /openapi.json there describes it.
    """
    try:
        from hoptrail.integrations.http_server.http_serving import serve_http
        from hoptrail.integrations.http_server.server_limits import ServerLimits
        from hoptrail.integrations.operations.recall_bounds import RecallBounds
    except ImportError as error:
        raise MissingExtra("the HTTP service needs a web server", "server") from error

    limits = ServerLimits(
        calls_per_minute=calls_per_minute,
        call_seconds=call_seconds,
        recalls_together=recalls_together,
    )
    bounds = RecallBounds(until, recall_tokens, min_score, patience)
    access = tokens_of(tokens)
    with served_memory(
        store,
        read_only=read_only,
        encoder=encoder,
        policy=policy,
        reader=reader or Path(SHIPPED_NAME),
    ) as memory:
        serve_http(
            memory,
            namespace=namespace or (),
            k=k,
            effort=effort,
            bounds=bounds,
            read_only=read_only,
            host=host,
            port=port,
            tokens=access,
            allowed_hosts=allow_host or (),
            limits=limits,
            announce=lambda url: say(f"listening at {url}", stream=sys.stderr),
        )
    return 0
