"""Numbers in README, story and notes that are no claim's are those of the results."""

import pytest
import torch
from safetensors.torch import load_file

from common.evidence.paper import papers
from common.files import ROOT

(PAPER,) = papers(["loss_landscape"])
FOLDER = ROOT / "papers/loss_landscape"
README = " ".join((FOLDER / "README.md").read_text().split())
NOTES = " ".join(PAPER.about.notes.split())


def curved_down(f):
    """Which inner points have a curvature in the plane below −1 % of the other: by eigenvalues."""
    middle = f[1:-1, 1:-1]
    H = torch.empty(*middle.shape, 2, 2, dtype=f.dtype)
    H[..., 0, 0] = f[2:, 1:-1] + f[:-2, 1:-1] - 2 * middle
    H[..., 1, 1] = f[1:-1, 2:] + f[1:-1, :-2] - 2 * middle
    H[..., 0, 1] = H[..., 1, 0] = (f[2:, 2:] + f[:-2, :-2] - f[2:, :-2] - f[:-2, 2:]) / 4
    λ = torch.linalg.eigvalsh(H)
    return λ[..., 0] < -0.01 * λ.abs().amax(-1), middle


def shares(run):
    """% of a plane's inner points that are curved downwards, below a loss of 4 and above."""
    path = FOLDER / f"results/{run.experiment}/surface{run.seed}.safetensors"
    down, loss = curved_down(load_file(path)["loss"].double())
    return [100 * down[part].double().mean().item() for part in (loss < 4, loss >= 4)]


def spread(*experiments):
    found = [r.at("spread_filter", None) for e in experiments for r in PAPER.results[e]]
    return f"{min(found):.2f} to {max(found):.2f}"


def test_much_of_what_lies_above_a_loss_of_4_is_not_convex():
    above = {}
    for name in ("resnet20", "plain20"):
        runs = PAPER.results[f"surface_{name}"]
        found = [shares(run) for run in runs]
        assert [low for low, _ in found] == pytest.approx(
            [run.at("nonconvex_low", None) for run in runs])
        high = [share for _, share in found]
        above[name] = f"{min(high):.0f} to {max(high):.0f} %"
        assert len(runs) == 3
    assert (f"above a loss of 4, {above['resnet20']} of inner points with shortcuts and "
            f"{above['plain20']} without") in NOTES


def test_ten_random_lines_look_alike_with_batch_normalisation_only():
    for sentence in (
            f"of their rises is {spread('sb_wd', 'sb_wd0', 'lb_wd', 'lb_wd0')} of the mean",
            f"{spread('line_relu')} with ReLU", f"{spread('line_sigmoid')} with sigmoid",
            f"{spread('line_maxout')} with maxout"):
        assert sentence in README


def test_random_directions_hold_next_to_nothing_of_any_path():
    most = max(r.at("random_2", None) for runs in PAPER.results.values() for r in runs
               if "random_2" in r.metrics)
    assert 0.04 < most < 0.05 and "Two random directions hold less than 0.05 % of it" in README
