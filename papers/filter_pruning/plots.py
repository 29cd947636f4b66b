"""The figures of the report: single layers, half of every block, and what plans save."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.evidence.legends import legend
from common.evidence.paper import Paper
from common.evidence.plotting import (
    COLOURS,
    dots,
    empty,
    explain,
    figure,
    gallery_figure,
    published_bar,
)
from common.evidence.results import Result
from papers.filter_pruning.facts import reduction, resnet20
from papers.filter_pruning.model import l1_norms, prunable

WHICH = (("smallest", COLOURS[0], "the smallest"), ("random", COLOURS[4], "random ones"),
         ("largest", COLOURS[1], "the largest"))
STAGES = (COLOURS[2], COLOURS[3], COLOURS[6])
PLANS = (("resnet56_a", "ResNet-56-A"), ("resnet56_b", "ResNet-56-B"),
         ("resnet110_a", "ResNet-110-A"), ("resnet110_b", "ResNet-110-B"),
         ("vgg16_a", "VGG-16-A"), ("resnet20_smallest", "ResNet-20, ours"))


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield sensitivity(paper)
    yield half(paper)
    yield plans(paper)


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: filters go, and some accuracy comes back."""
    fig, axes = gallery_figure()
    pruned(axes, paper)
    ends = {k: float(np.mean([run.at("error", None) for run in runs]))
            for k, (name, *_) in enumerate(WHICH)
            if (runs := paper.results.get(f"resnet20_{name}"))}
    for k, at in apart(ends, 9).items():
        name, colour, _ = WHICH[k]
        axes.text(2.1, at, name, color=colour, va="center")
    axes.text(2.1, 52, "pruned:" if ends else "", va="center")
    axes.set_xlim(-0.3, 2.9)
    explain(axes, ("a seed", {"marker": "o", "ms": 4, "color": "grey", "lw": 1.0}))
    legend(axes, loc="upper left")
    return fig


def errors(run: Result) -> tuple[list[int], list[float], np.ndarray]:
    """Layers, shares with 0 in front, and the error in %, (layers, shares)."""
    found = {(int(k.split("_")[1]), float(k.split("_")[2])): v
             for k, v in run.metrics.items() if k.startswith("error_")}
    layers, shares = sorted({k for k, _ in found}), sorted({p for _, p in found})
    whole = run.at("error", None)
    table = [[whole, *(found[layer, share] for share in shares)] for layer in layers]
    return layers, [0.0, *shares], np.array(table)


def sensitivity(paper: Paper) -> tuple[str, str, Figure]:
    """Fig. 2 and Fig. 5 of ResNet-20: norms, each layer by itself, and what to prune."""
    fig, (norms, single, compared) = figure(3, width=3.3, height=3.6)
    network, tensors = resnet20()
    for layer in prunable(network):
        s = l1_norms(tensors[f"{layer.conv}.weight"]).sort(descending=True).values
        norms.plot(np.linspace(0, 100, len(s)), s / s[0], color=STAGES[layer.stage], lw=1.0)
    norms.set(xlabel="filters (%), sorted", ylabel="Σ|weights| over the layer's largest",
              ylim=(0, 1.02), title="filters' weights")
    explain(norms, *((f"stage {k}", {"color": colour}) for k, colour in enumerate(STAGES, 1)))
    legend(norms, loc="lower left")
    for run in paper.results.get("sensitivity", [])[:1]:
        layers, shares, table = errors(run)
        for number, row in zip(layers, table, strict=True):
            single.plot([100 * p for p in shares], row, "-", lw=1.0,
                        color=STAGES[3 * (number // 2 - 1) // len(layers)])
        for number, at in apart(dict(zip(layers, table[:, -1], strict=True))).items():
            single.text(100 * shares[-1] + 1.5, at, str(number), va="center", fontsize=8)
    for which, colour, _ in WHICH:
        name = "sensitivity" + ("" if which == "smallest" else f"_{which}")
        for k, run in enumerate(paper.results.get(name, [])):
            _, shares, table = errors(run)
            compared.plot([100 * p for p in shares], table.mean(0), "o-", ms=3, color=colour,
                          label=which if k == 0 else None)
    for axes, title in ((single, "one layer, its smallest filters"),
                        (compared, "mean over layers")):
        if axes.lines:
            axes.set_xlim(0, 100)
        else:
            empty(axes)
        axes.set(xlabel="filters pruned (%)", ylabel="error (%)", title=title)
    if compared.lines:
        legend(compared, title="pruned are the", title_fontsize=8)
    return "sensitivity", (
        "ResNet-20, published weights of this repository: left as Fig. 2(a), the sums of absolute "
        "weights of the first filters of each block; middle as Fig. 5, the error of 1,000 test "
        "images when one layer (its number at the line's end) loses its smallest filters and "
        "nothing is retrained; right the mean over layers when other filters go. The paper draws "
        "larger networks and prints no numbers beside them."), fig


def apart(ends: dict[int, float], least: float = 4.0) -> dict[int, float]:
    """Where to write what stands at the ends of lines so that no two are closer than ``least``."""
    found: dict[int, float] = {}
    for name in sorted(ends, key=lambda n: ends[n]):
        found[name] = max(ends[name], *(at + least for at in found.values()), -np.inf)
    return found


def half(paper: Paper) -> tuple[str, str, Figure]:
    """Half of every block's first filters, a line a seed; what retraining leaves, with Table 1."""
    fig, (stages, left) = figure(2, width=3.85, height=3.3)
    pruned(stages, paper, "without {}")
    if stages.lines:
        legend(stages)
    remaining(left, paper)
    return "half", (
        "Left: ResNet-20 without half of every block's first filters, chosen in three ways: test "
        "error before pruning, after it, and after 200 steps of retraining at 0.001. A line is a "
        "seed; only random filters differ between seeds before retraining. Right: how far the "
        "error stays above the whole network's, against the operations saved: open, the paper's "
        "plans A and B after 40 epochs (Table 1); full, ResNet-20 without its smallest filters, a "
        "mark a seed."), fig


def remaining(axes: Axes, paper: Paper) -> None:
    """Points of error that retraining does not regain against operations saved, beside Table 1."""
    published = {c.id: c.published for c in paper.claims if c.published is not None}
    for network, count, error, plans, marker in (
            ("ResNet-56", "table1-resnet56", "error-56", "ab", "o"),
            ("ResNet-110", "table1-resnet110", "error-110", "ab", "s"),
            ("VGG-16", "table1-vgg16", "error-vgg", "a", "^")):
        axes.plot([published[f"{count}-{p}-flop-pruned"] for p in plans],
                  [published[f"{error}-{p}"] - published[error] for p in plans],
                  marker, ms=6, color="black", mfc="none", label=f"{network}, published")
    for name, words, marker in (("resnet20_40_epochs", "40 epochs", "D"),
                                ("resnet20_smallest", "200 steps", "o")):
        runs = paper.results.get(name, [])
        dots(axes, reduction("resnet20_smallest", "flop"),
             [run.at("error", None) - run.at("whole", None) for run in runs], COLOURS[0], marker,
             ms=4.5, label=f"ResNet-20 here, {words}")
    axes.axhline(0, color="grey", lw=0.8)
    axes.set(xlabel="operations saved (%)", ylabel="error above the whole network (points)",
             xlim=(0, 60), ylim=(-1, 15))
    legend(axes)


def pruned(axes: Axes, paper: Paper, label: str = "_") -> None:
    """Three choices of filters at three stages; the choice is put into the label."""
    stages = ("whole", "pruned", "error")
    for which, colour, words in WHICH:
        for k, run in enumerate(paper.results.get(f"resnet20_{which}", [])):
            axes.plot(range(3), [run.at(name, None) for name in stages], "o-", ms=4, color=colour,
                      lw=1.0, label=label.format(words) if k == 0 else None)
    if not axes.lines:
        empty(axes)
    axes.set_xticks(range(3), ["whole", "half of the first\nfilters pruned",
                               "retrained,\n200 steps"])
    axes.set(ylabel="test error (%)", xlim=(-0.3, 2.3), ylim=(0, 95))


def plans(paper: Paper) -> tuple[str, str, Figure]:
    """What each plan saves; published values as bars."""
    fig, axes = figure(width=6.4, height=2.9)
    claims = {c.id: c for c in paper.claims}
    for k, (name, _) in enumerate(PLANS):
        for j, (what, colour) in enumerate((("flop", COLOURS[0]), ("weights", COLOURS[2]))):
            at = k + 0.36 * j - 0.18
            label = {"flop": "operations", "weights": "parameters"}[what] if k == 0 else None
            axes.bar(at, reduction(name, what), 0.32, color=colour, alpha=0.7, label=label)
            claim = claims.get(f"table1-{name.replace('_', '-')}-{what}-pruned")
            if claim and claim.published is not None:
                published_bar(axes, at, claim.published, 0.17)
    axes.set_xticks(range(len(PLANS)), [title for _, title in PLANS], fontsize=8)
    axes.set_ylabel("saved (%)")
    axes.grid(axis="x", visible=False)
    legend(axes, loc="upper left")
    return "plans", (
        "What the paper's plans save, counted on the networks that are left, ⌊w(1 − p)⌋ filters a "
        "layer, beside Table 1, and the plan of our own for ResNet-20."), fig
