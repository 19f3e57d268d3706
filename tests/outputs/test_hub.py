"""Models on a hub: pushed with a card, fetched by name; by the hub's own client over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard, constants

from hoptrail import HubError, fetch_from_hub, push_to_hub
from hoptrail.errors import PolicyError
from hoptrail.learning.distillation import DistillConfig, distill
from hoptrail.memory.encoders.static import load_encoder
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.outputs.hub import front_matter
from hoptrail.policies import NetworkConfig, Policy, PolicyNetwork
from hoptrail.policies.card import readme

DEV = [{"corpus": "a/c.jsonl", "questions": "a/qa.jsonl", "sha256": "ab", "recall@5": 0.75}]


@pytest.fixture
def policy() -> Policy:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = PolicyNetwork(NetworkConfig(width=8, layers=1))
    card = {"objective": "imitation", "seed": 0, "sets": [], "dev": [{**DEV[0], "recall@2": 0.5}]}
    return Policy([network], card).eval()


def test_a_policy_goes_to_a_hub_and_comes_back_the_same(hub, policy) -> None:
    access = {"endpoint": hub.address, "token": "hf_right"}
    address = policy.push_to_hub("ann/ships", message="Trained on ships", **access)
    assert address.startswith(f"{hub.address}/ann/ships/commit/")
    assert hub.messages == ["Trained on ships"]
    files = hub.repositories["ann/ships"]
    assert sorted(files) == ["README.md", "policy.json", "policy.safetensors"]
    fetched = Policy.from_pretrained("ann/ships", **access)
    assert fetched.fingerprint == policy.fingerprint
    assert fetched.card == policy.card
    assert files["README.md"].decode() == readme(policy)


def test_a_folder_goes_round_without_a_hub(tmp_path: Path, policy) -> None:
    policy.save(tmp_path / "ships", readme=readme(policy))
    assert Policy.from_pretrained(tmp_path / "ships").fingerprint == policy.fingerprint
    policy.save(tmp_path / "ships", readme=readme(policy))  # over its own card
    (tmp_path / "ships" / "README.md").write_text("---\ntitle: somebody's\n---\n")
    with pytest.raises(PolicyError, match=r"README.md is there already"):
        policy.save(tmp_path / "ships", readme=readme(policy))


def test_a_hub_reads_the_figures_of_a_card(policy) -> None:
    card = ModelCard(readme(policy))
    assert card.data.library_name == "hoptrail"
    assert "retrieval" in card.data.tags
    measures = [
        (one.dataset_name, one.metric_type, one.metric_value) for one in card.data.eval_results
    ]
    assert measures == [("a/qa.jsonl", "recall_at_5", 0.75), ("a/qa.jsonl", "recall_at_2", 0.5)]
    assert card.text.lstrip().startswith("# A hoptrail policy")


def test_front_matter_is_yaml_whatever_a_set_is_called() -> None:
    text = front_matter("x", [], [{"questions": "a: [b]\n---", "recall@5": 1.0}])
    fields = yaml.safe_load(text.removeprefix("---\n").rstrip().removesuffix("---"))
    assert fields["model-index"][0]["results"][0]["dataset"]["name"] == "a: [b]\n---"


def test_what_is_no_card_s_and_no_weight_s_does_not_travel(hub, tmp_path: Path, policy) -> None:
    """And a folder without a card, as a reader's and a tuned encoder's are, gets one there."""
    folder = tmp_path / "ships"
    policy.save(folder)
    (folder / "weights.bin").write_bytes(b"a pickle")
    push_to_hub(folder, "ann/plain", endpoint=hub.address, token="hf_right")
    files = hub.repositories["ann/plain"]
    assert sorted(files) == ["README.md", "policy.json", "policy.safetensors"]
    assert '"features"' in ModelCard(files["README.md"].decode()).text
    assert not (folder / "README.md").exists()
    files["run.py"] = b"print('never')"
    fetched = fetch_from_hub("ann/plain", endpoint=hub.address)
    assert sorted(file.name for file in fetched.iterdir()) == sorted({*files} - {"run.py"})
    assert json.loads((fetched / "policy.json").read_text())["networks"] == 1


def test_an_encoder_is_loaded_by_its_name_on_a_hub(
    hub, tmp_path: Path, twelve, monkeypatch
) -> None:
    texts = [passage.content for passage in twelve]
    static = distill(texts, HashEncoder(), config=DistillConfig(dim=8, steps=1, seeds=4))
    static.save(tmp_path / "static")
    push_to_hub(tmp_path / "static", "ann/static", endpoint=hub.address, token="hf_right")
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    assert load_encoder("ann/static").fingerprint == static.fingerprint


def test_what_cannot_be_pushed_or_fetched_is_said(hub, tmp_path: Path, policy) -> None:
    with pytest.raises(HubError, match=r"holds no trained model"):
        push_to_hub(tmp_path, "ann/none", endpoint=hub.address)
    with pytest.raises(HubError, match=r"could not be pushed to 'ann/ships': .*401"):
        policy.push_to_hub("ann/ships", endpoint=hub.address, token="hf_wrong")
    with pytest.raises(HubError, match=r"'ann/none' is no folder here, and no such repository"):
        fetch_from_hub("ann/none", endpoint=hub.address)
