"""Every feature has the value that it had: weights that were trained on them depend on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hoptrail.policies.environment.feature_names import (
    COLUMNS,
    WIDTH,
    CandidateFeature,
    EvidenceFeature,
    PairFeature,
    StateFeature,
)
from hoptrail.policies.environment.features import as_links, features
from hoptrail.policies.environment.state import state_input
from hoptrail.types import Link, Passage

VALUES = Path(__file__).with_name("feature_values.npz")
"""`StateInput.x` of some states as rows by slot, and the names of its columns. Where a change is
meant to alter values, write it anew from `states`, raise `FEATURES_VERSION` and say why; columns
that are new need neither, but a line in the file."""
QUESTIONS = (
    "Into which lake flows the river of the town where Ada Lind was born?",
    "Who painted the grey trout of Lake Sorrel?",
)


@pytest.fixture
def states(world, twelve) -> dict[str, np.ndarray]:
    """States of the corpus of twelve with more links, by name; rows in the order of slots."""
    links = {"p-tolle": (Link("p-clock-tower", "has", 3.0), Link("p-varn", "near"))}
    untitled = ("p-river-mist", "p-stone-house")
    place = world(
        [
            Passage(
                p.id,
                p.text,
                None if p.id in untitled else p.title,
                links=(*p.links, *links.get(p.id, ())),
            )
            for p in twelve
        ]
    )
    read = place.slots("p-ada-lind", "p-tolle", "p-varn")
    states = {}
    for question, text in enumerate(QUESTIONS):
        for reencode in (True, False):
            pool = place.pool(text)
            reached = ((), read[:1], read[:2], read[::-1])
            place.enter(pool, *reached, reencode=reencode)
            table = features(pool)
            for evidence in reached:
                for linked in (False, True):
                    state = state_input(pool, as_links(table) if linked else table, evidence)
                    name = f"{question} {reencode} {linked} {len(evidence)}"
                    states[name] = state.x[np.argsort(state.slots)]
    return states


def test_features_have_the_values_that_they_had(states) -> None:
    """To the last bit, where the processor multiplies matrices as the one that wrote them did."""
    with np.load(VALUES) as before:
        columns = [COLUMNS.index(label) for label in before["columns"].tolist()]
        states = {name: x[:, columns] for name, x in states.items()}
        assert states.keys() == set(before.files) - {"columns"}
        products = [i for i, label in enumerate(before["columns"].tolist()) if "cosine" in label]
        same_processor = all(
            np.array_equal(x[:, products], before[name][:, products]) for name, x in states.items()
        )
        for name, x in states.items():
            assert x.dtype == before[name].dtype == np.float32
            if same_processor:
                np.testing.assert_array_equal(x, before[name], err_msg=name)
            np.testing.assert_allclose(x, before[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_these_states_tell_every_column_from_the_others(states) -> None:
    """No column could be swapped with its neighbour, or left out, without being seen."""
    x = np.concatenate(list(states.values()))
    with np.load(VALUES) as before:
        columns = before["columns"].tolist()
    assert set(columns) <= set(COLUMNS)
    varied = {label for label, spread in zip(COLUMNS, np.ptp(x, axis=0), strict=True) if spread > 0}
    assert set(columns) - varied == set()


def test_a_column_is_its_place_in_its_group() -> None:
    for group in (CandidateFeature, PairFeature, EvidenceFeature, StateFeature):
        assert list(group) == list(range(len(group)))
        assert all(feature.label and feature.scale > 0 for feature in group)
    assert len(set(COLUMNS)) == WIDTH
