"""What the table and the picture of finished runs show, where a paper chooses it."""

import importlib

import pytest

from common.experiments import Experiments
from common.files import ROOT

CHOSEN = {
    ("deep_linear", "quick_modes"): (["time_0", "theory_0", "time_1", "theory_1"], ["u_0", "u_1"]),
    ("deep_linear", "quick_sweep"): (["time_3", "rate_3", "time_10", "rate_10"],
                                     ["time_3", "time_10"]),
    ("initialisation", "quick_layers"): (["mean", "var", "forward", "backward"],
                                         ["forward", "backward"]),
    ("bayes_by_backprop", "quick_bbb"): (["error", "selected_error", "nll", "entropy"], ["error"]),
    ("bayes_by_backprop", "quick_sgd"): (["error", "selected_error", "nll", "entropy"], ["error"])}


@pytest.mark.parametrize(("paper", "name"), CHOSEN)
def test_what_is_shown_is_what_was_chosen_and_measured(paper, name):
    train = importlib.import_module(f"papers.{paper}.train")
    experiments = Experiments(train.Config, ROOT / "papers" / paper / "config.yaml")
    r = train.recipe(experiments.resolve(name, 0, {}))
    for k in range(2):
        r.step(k)
    metrics = r.evaluate(2, True)
    table, picture = r.headlines(list(metrics))
    assert (table, picture) == CHOSEN[paper, name]
    assert {*table, *picture} <= metrics.keys()
    if name == "quick_layers":
        assert "loss" not in r.loss_name, "nothing is trained there"
