"""Pieces measured in an encoder's tokens, whatever the text is made of."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoptrail import Memory
from hoptrail.formats.chunking import CHARACTERS_A_TOKEN, TOKENS, Block, Measure, cut, estimated
from hoptrail.formats.documents import passages_of
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.memory.testing.hash_encoder import HashEncoder

TEXTS = {
    "prose": "The ice broke late that year, and the pilots of Larvik waited for the first ships. "
    * 80,
    "German": "Die Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbaugesellschaft "
    "prüfte den Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetzentwurf. " * 30,
    "Chinese": "湖水很深。鱼很多。渔民们每天早上都去打鱼" * 150,
    "Thai": "ทะเลสาบลึกมากและมีปลามากมาย" * 120,
    "Hindi": "झील बहुत गहरी है और उसमें बहुत सी मछलियाँ हैं। " * 100,
    "code": "    result[index] = compute_value(self._cache, key=f'{name}:{index}') ** 2\n" * 80,
    "base64": "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4" * 120,
    "numbers": "1042 192.168.0.1 3.14159 2024-01-31 0xDEADBEEF\n" * 120,
    "emoji": "🚢🧊👩‍🚀 " * 400,
    "blanks": "a" + " " * 100_000 + "b" + "\n" * 50_000 + "c",
}


class Counting(HashEncoder):
    """An encoder that counts its tokens, as hoptrail's own do: one for each character."""

    def __init__(self, window: int | None) -> None:
        super().__init__()
        self.window = window

    def count_tokens(self, texts):
        return [len("".join(text.split())) for text in texts]


@pytest.fixture(scope="module")
def encoder():
    return minilm()


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("suffix", [".md", ".txt"])
def test_no_piece_is_longer_than_the_encoder_reads(encoder, name, suffix) -> None:
    text = TEXTS[name]
    measure = Measure(encoder.count_tokens, min(TOKENS, encoder.window))
    path = f"A title of some words{suffix}"
    parts = list(passages_of({path: text}, measure=measure))
    sizes = encoder.count_tokens([part.content for part in parts])
    assert max(sizes) <= min(TOKENS, encoder.window)
    if suffix == ".txt":
        assert "".join("".join(part.text.split()) for part in parts) == "".join(text.split())
    if name in ("prose", "German", "Chinese", "Hindi", "numbers"):  # and they are well filled
        assert len(parts) <= 2 * sum(encoder.count_tokens([text])) / TOKENS + 1


def test_a_memory_cuts_for_its_own_encoder(tmp_path) -> None:
    text = "# T\n\n" + "wordy " * 200
    for window, most in ((40, 40), (None, TOKENS), (10_000, TOKENS), (1, 1)):
        with Memory(tmp_path / f"{window}.db", encoder=Counting(window)) as memory:
            memory.upsert(passages_of({"a.md": text}))
            parts = list(memory.store.passages())
        longest = max(len("".join(part.content.split())) for part in parts)
        assert longest <= max(most, len("T. ") + 1)
        assert longest > most - 10
    with Memory(tmp_path / "none.db", encoder=HashEncoder()) as memory:  # which does not count
        memory.upsert(passages_of({"a.md": text}))
        assert max(estimated([p.content for p in memory.store.passages()])) <= TOKENS


def test_the_estimate_is_no_less_than_what_the_encoder_counts(encoder) -> None:
    for name in ("prose", "German", "Chinese", "Thai", "code", "numbers"):
        assert estimated([TEXTS[name]])[0] >= 0.9 * encoder.count_tokens([TEXTS[name]])[0]


@given(
    st.lists(
        st.builds(
            Block,
            st.text(st.sampled_from("ab. \n。湖\u0301|"), min_size=1, max_size=80).filter(
                str.strip
            ),
            st.sampled_from(["text", "lines"]),
            st.just(((0, "link"),)),
            st.just(("anchor",)),
        ),
        max_size=8,
    ),
    st.integers(1, 30),
)
def test_nothing_is_lost_or_said_twice(blocks, budget) -> None:
    parts = cut(blocks, budget, estimated)
    before = "".join("".join(block.text.split()) for block in blocks)
    assert "".join("".join(part.text.split()) for part in parts) == before
    assert all(part.text.strip() for part in parts)
    assert all(size <= budget for size in estimated([part.text for part in parts]))
    assert all(len(part.text) <= budget * CHARACTERS_A_TOKEN for part in parts)
    assert sum(len(part.links) for part in parts) == len(blocks)
    assert sum(len(part.anchors) for part in parts) == len(blocks)


def test_a_link_goes_with_its_piece() -> None:
    text = " ".join(f"word{number}" for number in range(400))
    place = text.index("word300")
    parts = cut([Block(text, "text", ((place, "here"),))], 100, estimated)
    (holder,) = [part for part in parts if part.links]
    assert "word300" in holder.text
    assert holder.text[holder.links[0][0] :].startswith("word300")


@pytest.mark.parametrize("text", ["x" * 400_000, "x " * 200_000, "x. " * 130_000, "x\n" * 200_000])
def test_cutting_takes_time_in_proportion(text) -> None:
    started = time.process_time()
    cut([Block(text, "lines")], 200, estimated)
    assert time.process_time() - started < 6
