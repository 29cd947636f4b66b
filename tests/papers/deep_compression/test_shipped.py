"""Published files of weights: their cards and their errors."""

import json

import pytest

from common.experiments import Experiments
from common.files import ROOT
from papers.deep_compression import shipped
from papers.deep_compression.train import Config, recipe

EXPERIMENTS = Experiments(Config, ROOT / "papers/deep_compression/config.yaml")


def made(name, seed=0, **overrides):
    return recipe(EXPERIMENTS.resolve(
        name, seed, {k.replace("__", "."): v for k, v in overrides.items()}))


@pytest.mark.parametrize("name", ["lenet300_compressed", "lenet5_compressed"])
def test_published_files_have_their_cards_and_errors(name, real_data):
    path = ROOT / f"papers/deep_compression/results/{name}/seed0.dcn"
    record = json.loads(path.with_name("seed0.json").read_text(encoding="utf-8"))
    assert path.with_suffix(".md").read_text(encoding="utf-8") == shipped.card(path, record)
    real_data("ylecun/mnist")
    one = made(name)
    one.model = shipped.load(path)
    assert one.error() == pytest.approx(record["metrics"]["error"], abs=0.01)
