"""The figures of the report: the chain, what each addition buys, flips, and Muon's quintic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.data import digits, generator
from common.evidence.legends import legend
from common.evidence.paper import Paper
from common.evidence.plotting import COLOURS, figure, gallery_figure, legend_below
from papers.airbench.augment import Flip, Flips
from papers.airbench.facts import configuration, quintic

COLOUR = dict(zip(("baseline", "whiten", "dirac", "scalebias", "lookahead", "mirror", "muon"),
                  COLOURS, strict=True))
"""Of the rows that are trained in a quarter of the width, too."""

LABELS = {"baseline": "baseline", "whiten": "+ whitening", "dirac": "+ identity start",
          "scalebias": "+ shifts × 64", "freeze": "+ first bias rests", "lookahead": "+ Lookahead",
          "tta": "+ six views", "mirror": "+ alternating flips", "muon": "Muon's recipe",
          "airbench94": "the script airbench94"}


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield chain(paper)
    yield gains(paper)
    yield flips()
    yield spectrum()


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: epochs to 94 %, and where our full runs end."""
    fig, (left, right) = gallery_figure(2, sharey=True, gridspec_kw={"width_ratios": (4, 3)})
    table = paper.published("chain", text=("row", "feature"))
    epochs = dict(zip(table["row"], table["epochs"], strict=True)) | {"muon": 8.0}
    ends = dict(zip(table["row"], table["accuracy"], strict=True)) | {"muon": 94.01}
    bars(left, epochs)
    for y, row in zip(np.arange(len(epochs))[::-1], epochs, strict=True):
        right.plot(ends[row], y, "o", mec=COLOUR.get(row, "grey"), mfc="none", ms=5)
        measured(right, paper, row if row == "muon" else "airbench94" if row == "mirror" else "",
                 y, COLOUR.get(row, "grey"))
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    left.set(xlabel="epochs to 94 %,\npublished", xlim=(0, 46), ylim=(-0.8, len(epochs) - 0.4))
    right.set(xlabel="accuracy (%)", xlim=(93.5, 94.5), xticks=(93.5, 94, 94.5))
    right.grid(axis="y", alpha=0)
    legend_below(fig, ("published", {"marker": "o", "mfc": "none", "color": "grey", "ls": ""}),
                 ("ours, 25 runs", {"marker": "D", "ms": 4, "color": "grey"}))
    return fig


def measured(axes: Axes, paper: Paper, name: str, y: float, colour: str) -> None:
    """The accuracies of an experiment's runs on a row: mean, lowest and highest."""
    if ends := [r.metrics["accuracy"] for r in paper.results.get(name, [])]:
        middle = np.mean(ends)
        axes.errorbar(middle, y - 0.3, xerr=[[middle - min(ends)], [max(ends) - middle]],
                      fmt="D", ms=3.5, elinewidth=1.2, color=colour)


def bars(axes: Axes, epochs: dict[str, float]) -> None:
    """A bar of epochs for every row, its number beside it."""
    places = np.arange(len(epochs))[::-1]
    axes.barh(places, list(epochs.values()), color=[COLOUR.get(r, "lightgrey") for r in epochs],
              alpha=0.8)
    for y, number in zip(places, epochs.values(), strict=True):
        axes.annotate(f"{number:g}", (number, y), (3, 0),
                      textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(places, [LABELS[r] for r in epochs])
    axes.grid(axis="y", alpha=0)


def curve(axes: Axes, paper: Paper, name: str, colour: str) -> None:
    """Accuracy of single views against epochs of an experiment's runs, where there are any.

    Beside the end, the accuracies that count, with all views: mean, lowest and highest run.
    """
    runs = paper.results.get(name, [])
    if runs:
        batches = 50_000 // configuration(name).train.batch_size
        epochs = np.asarray(runs[0].curves["accuracy_1"][0]) / batches
        values = np.stack([r.curves["accuracy_1"][1] for r in runs])
        axes.plot(epochs, values.mean(0), color=colour)
        axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.2, lw=0)
        ends = [r.metrics["accuracy"] for r in runs]
        middle = np.mean(ends)
        axes.errorbar(1.04 * epochs[-1], middle, [[middle - min(ends)], [max(ends) - middle]],
                      fmt="D", ms=4, capsize=3, elinewidth=1.2, color=colour)


def chain(paper: Paper) -> tuple[str, str, Figure]:
    fig, (left, right) = figure(2, height=3.7)
    table = paper.published("chain", text=("row", "feature"))
    ends = [*zip(table["row"], table["epochs"], table["accuracy"], strict=True),
            ("airbench94", 9.9, 94.01), ("muon", 8, 94.01)]
    colours = COLOUR | {"freeze": "0.35", "tta": "0.75", "airbench94": "saddlebrown"}
    for row, epochs, accuracy in ends:
        left.plot(epochs, accuracy, mec=colours[row], **open_mark(row))
        curve(left, paper, row, colours[row])
    ran = any(row in paper.results for row, *_ in ends)
    ticks = (7, 8, 9, 10, 12, 14, 18, 21, 27, 35)
    left.set(xlabel="epochs", ylabel="test accuracy (%)", xscale="log", xlim=(6.5, 39),
             ylim=(91.5, 94.5) if ran else (93.5, 94.5),
             title="full size: where the rows end")
    left.set_xticks(ticks, [f"{t}" for t in ticks])
    left.minorticks_off()
    for k, (row, colour) in enumerate(COLOUR.items()):
        spread(right, paper, f"small_{row}", colour, 0.02 * (k - 3))
    right.set(xlabel="epochs", xticks=(1, 2, 3), xlim=(0.85, 3.15),
              title="ours: a quarter of the width, three epochs")
    legend_below(fig, *((LABELS[row], {"color": colours[row], **(
        {"lw": 4} if row in COLOUR else open_mark(row))}) for row, *_ in ends),
        ("published", {"color": "grey", **open_mark("")}),
        ("ours, all views: mean, lowest, highest",
         {"color": "grey", "marker": "D", "ms": 4, "lw": 1.2}))
    return "chain", (
        "Test accuracy against epochs; a row has one colour in both panels. Left: open signs are "
        "the published ends, means of 25 to 1,000 runs with two or six views of a test image, "
        "the larger ones around others of the same length. Curves are full-size runs of ours (25 "
        "of each), single views, with the range from lowest to highest shaded; filled diamonds "
        "beside the published signs are what these runs reach with all views. Right: the same "
        "additions in a network of 16, 64 and 64 channels that is trained for three epochs, "
        "single views: means (dots), and bars from the lowest seed to the highest, moved apart to "
        "be seen."), fig


def open_mark(row: str) -> dict[str, Any]:
    """How a published end is drawn: larger where it surrounds another of the same length."""
    return {"marker": "s" if row == "airbench94" else "o", "mfc": "none", "mew": 1.5, "ls": "",
            "ms": {"airbench94": 13, "freeze": 10}.get(row, 6)}


def spread(axes: Axes, paper: Paper, name: str, colour: str, shift: float) -> None:
    """Accuracy of single views after each epoch: means, and bars from lowest to highest seed."""
    if runs := paper.results.get(name, []):
        batches = 50_000 // configuration(name).train.batch_size
        epochs = np.asarray(runs[0].curves["accuracy_1"][0]) / batches
        values = np.stack([r.curves["accuracy_1"][1] for r in runs])
        middle = values.mean(0)
        axes.errorbar(epochs + shift, middle, (middle - values.min(0), values.max(0) - middle),
                      fmt="o-", ms=3, lw=1.2, elinewidth=0.8, color=colour)


def gains(paper: Paper) -> tuple[str, str, Figure]:
    fig, (left, right) = figure(2, height=3.0)
    table = paper.published("chain", text=("row", "feature"))
    bars(left, dict(zip(table["row"], table["epochs"], strict=True)))
    left.set(xlabel="epochs to 94 %, published", xlim=(0, 39))
    rows = list(COLOUR)
    for y, row in zip(np.arange(len(rows))[::-1], rows, strict=True):
        found = [r.metrics["accuracy"] for r in paper.results.get(f"small_{row}", [])]
        if found:
            right.plot(found, [y] * len(found), "|", color=COLOUR[row], ms=9)
            right.plot(np.mean(found), y, "o", color=COLOUR[row], ms=6)
    right.set_yticks(np.arange(len(rows))[::-1], [LABELS[r] for r in rows])
    right.set(xlabel="accuracy after three epochs (%), ours",
              ylim=(-0.6, len(rows) - 0.4))
    return "gains", (
        "What each addition buys. Left: the epochs after which the published rows reach 94 %. "
        "Right: the accuracy that our small network reaches in three epochs, two views of a test "
        "image; strokes are runs, circles their means."), fig


def flips() -> tuple[str, str, Figure]:
    fig, panels = figure(2, width=4.0, height=3.4)
    images = digits().train.images[:10, 0][[2, 3, 4, 5, 7]].numpy() / 255
    kinds: tuple[Flip, ...] = ("random", "alternating")
    for axes, kind in zip(panels, kinds, strict=True):
        mirrored, epochs = Flips(len(images), kind, 4), range(6)
        rows = []
        for k in epochs:
            turned = mirrored(k).tolist()
            rows.append(np.concatenate([np.pad(x[:, ::-1] if m else x, 1, constant_values=0.15)
                                        for x, m in zip(images, turned, strict=True)], axis=1))
        axes.imshow(np.concatenate(rows), cmap="gray_r", vmin=0, vmax=1)
        axes.set(title=f"{kind} flips", xticks=[], ylabel="epoch")
        axes.set_yticks([10 * k + 4.5 for k in epochs], [str(k + 1) for k in epochs])
        axes.grid(visible=False)
    return "flips", (
        "Five images in six epochs. With a coin for every image and epoch two epochs in a row show "
        "half of the images the same way round; alternating flips show all of them both ways, "
        "whatever the first coin was."), fig


def spectrum() -> tuple[str, str, Figure]:
    fig, (left, right) = figure(2)
    x = np.linspace(0, 1, 1001)
    for steps, colour in zip((1, 2, 3, 5), COLOURS, strict=False):
        left.plot(x, quintic(x, steps), color=colour, lw=1.8 if steps == 3 else 1.0,
                  label=f"{steps} step{'s' * (steps > 1)}")
    left.axhspan(0.5, 1.5, color="grey", alpha=0.15, lw=0)
    left.set(xlabel="singular value over the Frobenius norm", ylabel="singular value afterwards",
             xlim=(0, 1), ylim=(0, 1.6), title="the quintic, applied again and again")
    legend(left, loc="lower right")
    g = torch.randn(256, 576, generator=generator(0, "spectrum"), dtype=torch.float64)
    before = torch.linalg.svdvals(g / g.norm()).numpy()
    after = np.sort(quintic(before, 3))[::-1]
    right.plot(before, color=COLOURS[6], label="a Gaussian matrix, over its norm")
    right.plot(after, color=COLOURS[2], label="after three steps")
    right.axhspan(0.5, 1.5, color="grey", alpha=0.15, lw=0)
    right.set(xlabel="singular values of 256 × 576 entries, in order", ylim=(0, 1.6),
              title="every direction gets a step")
    legend(right, loc="lower left")
    return "spectrum", (
        "What Newton and Schulz's iteration does to singular values. Left: the quintic of "
        "airbench94_muon, applied once to five times; grey is 0.5 to 1.5. Right: the singular "
        "values of a matrix of Gaussian entries over its Frobenius norm, before and after three "
        "steps, each in its own order."), fig
