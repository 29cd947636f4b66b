"""The recipes: golden values, resuming, the published minima."""

import csv
import math

import pytest
import torch

from common.errors import UserError
from common.experiments import Experiments
from common.files import ROOT
from common.problems import problem
from papers.lbfgs.methods import by_rate, closeness, minimise
from papers.lbfgs.train import SETS, Config, label, recipe

FOLDER = ROOT / "papers/lbfgs"
EXPERIMENTS = Experiments(Config, FOLDER / "config.yaml")


def resolved(name, **overrides):
    return EXPERIMENTS.resolve(name, 0, {k.replace("__", "."): v for k, v in overrides.items()})


def test_golden_curve_of_quick(num_regression):
    r = recipe(resolved("quick"))
    num_regression.check({"loss": [r.step(k).item() for k in range(20)]},
                         default_tolerance={"rtol": 1e-6})


@pytest.mark.parametrize("name", ["lbfgs_5", "bfgs", "modified", "saddle_free"])
def test_golden_evaluations(name, num_regression):
    c = resolved(name)
    chosen = [problem(n) for n in ("rosenbrock", "beale", "helical_valley", "wood", "box")]
    num_regression.check({"evaluations": [minimise(p, c).evaluations for p in chosen]},
                         default_tolerance={"atol": 2})


def test_published_minima_are_the_problems_own():
    with open(FOLDER / "published/minima.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    known = {label(p): p for p in (problem(n, **s) for n, s in SETS["published"])}
    assert [row["key"] for row in rows].count("trigonometric_10") == 1
    assert len({row["key"] for row in rows}) == len(rows) == len(known) == 48
    for row in rows:
        p = known[row["key"]]
        assert (row["problem"], int(row["n"]), int(row["number"])) == (p.name, p.n, p.number)
        assert float(row["minimum"]) in p.minima
    (biggs,) = (row for row in rows if row["problem"] == "biggs")
    assert float(biggs["minimum"]) == 5.65565e-3, "0 is a minimum, but the paper does not give it"


def test_a_moved_problem_is_the_same_from_elsewhere():
    made = recipe(resolved("bfgs"))
    before, after = made.jobs[0], made.moved(made.jobs[0], lambda x: x + 0.25)
    assert torch.equal(after.x(), before.x() + 0.25) and after.minima == before.minima
    assert after.f(before.x()) == before.f(before.x())


def test_a_run_goes_on_at_the_next_problem():
    r = recipe(resolved("bfgs"))
    for k in range(3):
        r.step(k)
    again = recipe(resolved("bfgs"))
    again.load_state(r.state())
    for one in (r, again):
        one.step(3)
    assert torch.equal(again.model.values, r.model.values)
    metrics = r.evaluate(48, True)
    assert metrics["solved_at_rosenbrock_2"] > 0 and len(metrics) == 1 + 5 * 48
    assert r.evaluate(4, False) == {"solved": 4.0}


def test_the_best_rate_counts_and_divergence_does_not():
    p, c = problem("beale"), resolved("momentum", task__budget=400)
    best = minimise(p, c)
    assert best.solved_at == min(o.solved_at for o in (by_rate(p, c, 10.0**-k) for k in range(9))
                                 if o.solved_at >= 0)
    assert by_rate(p, c, 1.0).f == math.inf


def test_what_counts_as_solved():
    close = closeness(problem("freudenstein_roth"))
    assert close(0.001) and close(48.985) and not close(0.1) and not close(49.5)
    assert not close(math.inf)


@pytest.mark.parametrize(("name", "overrides", "message"), [
    ("bfgs", {"train__steps": 3}, "expected 48, a step for each"),
    ("bfgs", {"task__budget": 0}, "task.budget=0: expected a whole number"),
    ("lbfgs_5", {"optim__m": 0}, "optim.m=0: expected a whole number of at least 1"),
    ("quick", {"optim__m": 0}, "optim.m=0: expected a whole number of at least 1"),
    ("quick", {"optim__method": "adam"}, "expected a method with a line search")])
def test_bad_values_are_one_line(name, overrides, message):
    with pytest.raises(UserError, match=message):
        recipe(resolved(name, **overrides))
