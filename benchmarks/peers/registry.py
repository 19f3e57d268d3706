"""The peers there are, and which of them can take part here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from benchmarks.peers.frameworks import LangChain, LangGraph, Txtai, TxtaiGraph
from benchmarks.peers.hippo_rag import HippoRag
from benchmarks.peers.linear_rag import LinearRag
from benchmarks.peers.memories import Coremem, Engram
from benchmarks.peers.peer import Peer
from benchmarks.peers.plain import Bm25s, Bm25sFaiss, RawVectors

PEERS: tuple[Peer, ...] = (
    RawVectors(),
    Bm25s(),
    Bm25sFaiss(),
    LangChain(),
    LangGraph(),
    Txtai(),
    TxtaiGraph(),
    Coremem(),
    Engram(),
    LinearRag(),
    HippoRag(),
)


def missing(peer: Peer) -> list[str]:
    """The distributions that a peer needs and that are not installed."""
    absent = []
    for name in peer.requires:
        try:
            version(name)
        except PackageNotFoundError:
            absent.append(name)
    return absent


def versions(peer: Peer) -> dict[str, str]:
    """The releases of what a peer needs, which are installed."""
    return {name: version(name) for name in peer.requires}
