"""The figures of the report: the chain, what each addition buys, flips, and Muon's quintic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.data import digits, generator
from common.evidence.legends import legend
from common.evidence.paper import Paper
from common.evidence.plotting import COLOURS, figure, gallery_figure, over_seeds
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
    fig, axes = gallery_figure()
    table = paper.published("chain", text=("row", "feature"))
    epochs = dict(zip(table["row"], table["epochs"], strict=True)) | {"muon": 8.0}
    ends = {"mirror": "airbench94", "muon": "muon"}
    ours = {row: f" (ours: {np.mean([r.metrics['accuracy'] for r in runs]):.1f} %)"
            for row, name in ends.items() if (runs := paper.results.get(name))}
    bars(axes, epochs, ours)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set(xlabel="epochs to 94 %, published", xlim=(0, 40), ylim=(-0.6, len(epochs) - 0.4))
    return fig


def bars(axes: Axes, epochs: dict[str, float], ours: dict[str, str]) -> None:
    """A bar of epochs for every row, its number beside it, and what is said of our runs."""
    places = np.arange(len(epochs))[::-1]
    axes.barh(places, list(epochs.values()), color=[COLOUR.get(r, "lightgrey") for r in epochs],
              alpha=0.8)
    for y, (row, number) in zip(places, epochs.items(), strict=True):
        axes.annotate(f"{number:g}{ours.get(row, '')}", (number, y), (3, 0),
                      textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(places, [LABELS[r] for r in epochs])
    axes.grid(axis="y", alpha=0)


def curve(axes: Axes, paper: Paper, name: str, label: str, colour: str) -> None:
    """Accuracy of single views against epochs of an experiment's runs, where there are any.

    Beside the end, the accuracies that count, with all views: mean, lowest and highest run.
    """
    runs = paper.results.get(name, [])
    if runs:
        batches = 50_000 // configuration(name).train.batch_size
        epochs = np.asarray(runs[0].curves["accuracy_1"][0]) / batches
        over_seeds(axes, epochs, np.stack([r.curves["accuracy_1"][1] for r in runs]), label, colour)
        ends = [r.metrics["accuracy"] for r in runs]
        middle = np.mean(ends)
        axes.errorbar(1.04 * epochs[-1], middle, [[middle - min(ends)], [max(ends) - middle]],
                      fmt="D", ms=4, capsize=3, elinewidth=1.2, color=colour)


def chain(paper: Paper) -> tuple[str, str, Figure]:
    fig, (left, right) = figure(2, height=4.6)
    table = paper.published("chain", text=("row", "feature"))
    ends = [*zip(table["row"], table["epochs"], table["accuracy"], strict=True),
            ("airbench94", 9.9, 94.01), ("muon", 8, 94.01)]
    for row, epochs, accuracy in ends:
        colour = COLOUR.get(row) or {
            "freeze": "0.35", "tta": "0.75", "airbench94": "saddlebrown"}[row]
        left.plot(epochs, accuracy, "s" if row == "airbench94" else "o", mec=colour, mfc="none",
                  mew=1.5, ms={"airbench94": 13, "freeze": 10}.get(row, 6), label=LABELS[row])
        curve(left, paper, row, f"{LABELS[row]}, ours", colour)
    if ran := any(row in paper.results for row, *_ in ends):
        left.errorbar([], [], [], fmt="D", ms=4, capsize=3, color="0.35",
                      label="ours with all views: mean, lowest, highest")
    ticks = (7, 8, 9, 10, 12, 14, 18, 21, 27, 35)
    left.set(xlabel="epochs", ylabel="test accuracy (%)", xscale="log", xlim=(6.5, 39),
             ylim=(91.5, 94.5) if ran else (93.5, 94.5),
             title="full size: where the rows end")
    left.set_xticks(ticks, [f"{t}" for t in ticks])
    left.minorticks_off()
    for k, (row, colour) in enumerate(COLOUR.items()):
        spread(right, paper, f"small_{row}", LABELS[row], colour, 0.02 * (k - 3))
    right.set(xlabel="epochs", xticks=(1, 2, 3), xlim=(0.85, 3.15),
              title="ours: a quarter of the width, three epochs")
    for axes in (left, right):
        if axes.get_legend_handles_labels()[0]:
            legend(axes)
    return "chain", (
        "Test accuracy against epochs. Left: where the published rows end, means of 25 to 700 runs "
        "with two or six views of a test image, larger signs around others of the same length; "
        "curves are the ends of full-size runs of ours, single views, from the lowest to the "
        "highest shaded, and diamonds beside the "
        "published marks what these runs reach with as many views. Right: the same "
        "additions in a network of 16, 64 and 64 channels "
        "that is trained for three epochs, single views, mean over seeds; bars reach from the "
        "lowest seed to the highest, beside each other to be seen."), fig


def spread(axes: Axes, paper: Paper, name: str, label: str, colour: str, shift: float) -> None:
    """Accuracy of single views after each epoch: means, and bars from lowest to highest seed."""
    if runs := paper.results.get(name, []):
        batches = 50_000 // configuration(name).train.batch_size
        epochs = np.asarray(runs[0].curves["accuracy_1"][0]) / batches
        values = np.stack([r.curves["accuracy_1"][1] for r in runs])
        middle = values.mean(0)
        axes.errorbar(epochs + shift, middle, (middle - values.min(0), values.max(0) - middle),
                      fmt="o-", ms=3, lw=1.2, elinewidth=0.8, color=colour, label=label)


def gains(paper: Paper) -> tuple[str, str, Figure]:
    fig, (left, right) = figure(2, height=3.0)
    table = paper.published("chain", text=("row", "feature"))
    bars(left, dict(zip(table["row"], table["epochs"], strict=True)), {})
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
