"""Search by words, by both sides and by walking, and names in texts, in every script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from hoptrail import Memory, Passage
from hoptrail.memory.testing.hash_encoder import HashEncoder

TEXTS = {
    "chinese": [
        "长城在北京的北边。",
        "李娜住在上海。",
        "他用C++写了3.2.1版。",
        "她用C#写了3.1.2版。",
    ],
    "japanese": ["富士山は日本で一番高い山だ。", "鈴木さんは図書館で働く。", "ﾊﾞﾅﾅを二本買った。"],
    "korean": ["대전은 과학의 도시입니다.", "영희가 대구에서 일한다.", "독도는 섬이다."],
    "thai": ["เขาทำงานที่ภูเก็ต", "มะม่วงลูกนี้หวานมาก", "รถไฟออกตอนเช้า"],
    "hindi": ["जयपुर एक पुराना शहर है।", "मीरा ने चिट्ठी लिखी।", "गाड़ी नौ बजे चलेगी।"],
    "arabic": ["يَعْمَلُ طَارِقٌ فِي المَصْنَعِ", "النهر قريب من القرية", "الرقم هو ٧٣"],
    "turkish": ["İzmir'de deniz var.", "Iğdır doğudadır.", "Kitap masanın üstünde."],
    "greek": ["ΟΔΥΣΣΕΥΣ γύρισε.", "Πηνελόπη περίμενε."],
    "numbers": [
        "Pump 7 leaks.",
        "Pump 8 is fine.",
        "Ticket OPS-31 is open.",
        "Ticket OPS-32 is open.",
    ],
}
QUERIES = [
    ("chinese", "北京", 0),
    ("chinese", "李娜", 1),
    ("chinese", "C++", 2),
    ("chinese", "3.1.2", 3),
    ("japanese", "富士山", 0),
    ("japanese", "図書館", 1),
    ("japanese", "バナナ", 2),
    ("korean", "대전", 0),
    ("korean", "대구", 1),
    ("korean", "섬", 2),
    ("thai", "ภูเก็ต", 0),
    ("thai", "มะม่วง", 1),
    ("hindi", "जयपुर", 0),
    ("hindi", "चिट्ठी", 1),
    ("arabic", "طارق", 0),
    ("arabic", "مصنع", 0),
    ("arabic", "القريه", 1),
    ("arabic", "73", 2),
    ("turkish", "IZMIR", 0),
    ("turkish", "ığdır", 1),
    ("greek", "Οδυσσεύς", 0),
    ("greek", "πηνελοπη", 1),
    ("numbers", "pump 8", 1),
    ("numbers", "OPS-31", 2),
    ("numbers", "32", 3),
]


class Blind(HashEncoder):
    """An encoder that knows none of these scripts: to it all texts are alike."""

    @property
    def fingerprint(self) -> str:
        return "blind"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.full((len(texts), self.dim), self.dim**-0.5, dtype=np.float32)


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    path: Path = tmp_path_factory.mktemp("scripts") / "memory.db"
    with Memory(path, encoder=Blind(64)) as opened:
        for script, texts in TEXTS.items():
            opened.add(
                [{"id": str(i), "text": text} for i, text in enumerate(texts)], namespace=(script,)
            )
        yield opened


@pytest.mark.parametrize(("script", "query", "place"), QUERIES)
def test_a_word_finds_its_passage_first(
    memory: Memory, script: str, query: str, place: int
) -> None:
    for mode in ("sparse", "hybrid"):
        assert memory.search(query, 1, (script,), mode=mode)[0].passage.id == str(place), mode
    assert memory.recall(query, 1, (script,)).passages[0].id == str(place)
    assert memory.search(query, 1, mode="sparse")[0].passage.text == TEXTS[script][place]


@pytest.mark.parametrize("query", ["🎉🎉", "…", "。", "\u0301", "___", "の"])
def test_what_holds_no_words_is_searched_all_the_same(memory: Memory, query: str) -> None:
    memory.search(query, 2, ("japanese",))
    memory.recall(query, 2, ("japanese",))


def test_a_long_text_without_spaces_does_not_outrank_the_one_that_is_meant(
    tmp_path: Path,
) -> None:
    with Memory(tmp_path / "a.db", encoder=None, policy=None) as empty:
        assert len(empty) == 0
    filler = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏" * 40
    with Memory(tmp_path / "b.db", encoder=HashEncoder()) as memory:
        memory.add(
            [
                {"id": "long", "text": f"{filler}苏州{filler}杭州{filler}"},
                {"id": "short", "text": "苏州园林很美。"},
                {"id": "other", "text": "The gardens of Suzhou are old."},
            ]
        )
        hits = memory.search("苏州园林", mode="sparse")
        assert [hit.passage.id for hit in hits] == ["short", "long"]


TITLED = [
    ("东京", "东京是日本的首都。", "她去年搬到了东京。"),
    ("富士山", "富士山は高い。", "昨日、富士山に登った。"),
    ("서울", "서울은 수도입니다.", "민수는 서울에서 산다."),
    ("ภูเก็ต", "ภูเก็ตเป็นเกาะ", "เขาไปภูเก็ตเมื่อวาน"),
    ("जयपुर", "जयपुर एक शहर है।", "मीरा जयपुर में रहती है।"),
    ("دمشق", "دمشق مدينة قديمة.", "تعيش سارة في دِمَشْق."),
    ("İzmir", "İzmir bir liman kentidir.", "Ayşe İZMİR'de oturuyor."),
]


@pytest.mark.parametrize(("title", "text", "mentioning"), TITLED)
def test_a_text_mentions_the_passage_whose_title_it_says(
    tmp_path: Path, title: str, text: str, mentioning: str
) -> None:
    with Memory(tmp_path / "a.db", encoder=HashEncoder(), policy=None) as memory:
        memory.add([Passage("a", text, title), Passage("b", mentioning)])
        view = memory.store.view()
        graph = memory.graph.view(view)
        source, target = view.slot_of("b"), view.slot_of("a")
        assert [mention.target for mention in graph.out_mentions(source)] == [target]
        memory.add(Passage("c", f"{mentioning} {mentioning}"))  # an older name in a newer text
        memory.delete("a")
        memory.add(Passage("a", text, title))  # a newer name in an older text
        view = memory.store.view()
        graph = memory.graph.view(view)
        for id_ in ("b", "c"):
            assert {m.target for m in graph.out_mentions(view.slot_of(id_))} == {view.slot_of("a")}


@pytest.mark.parametrize("script", ["chinese", "japanese", "korean", "thai", "hindi", "arabic"])
def test_scripts_without_capitals_have_no_entities(memory: Memory, script: str) -> None:
    view = memory.store.view((script,))
    graph = memory.graph.view(view)
    texts = {"C"}  # what stands there in another script
    assert all(set(graph.entities(slot)) <= texts for slot in range(view.capacity))


def test_a_korean_name_is_no_part_of_another_word(tmp_path: Path) -> None:
    with Memory(tmp_path / "a.db", encoder=HashEncoder(), policy=None) as memory:
        memory.add([Passage("a", "기자는 직업이다.", "기자"), Passage("b", "그 사기자루를 보라.")])
        view = memory.store.view()
        assert not memory.graph.view(view).out_mentions(view.slot_of("b"))


def test_a_title_of_many_blanks_or_brackets_is_read_in_an_instant(tmp_path: Path) -> None:
    titles = ["a" + " " * 60_000 + "b", "(" * 60_000, "a (" + " " * 60_000, ")" * 60_000]
    with Memory(tmp_path / "a.db", encoder=HashEncoder(), policy=None) as memory:
        memory.add([Passage(str(i), "text", title) for i, title in enumerate(titles)])
        memory.graph.sync()  # it would take minutes if a title cost more than linear time
        assert memory.graph.view(memory.store.view()) is not None
