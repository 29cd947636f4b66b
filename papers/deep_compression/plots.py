"""The figures of the report: size and error, which weights stay, shared values, and tickets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.evidence.legends import legend, legend_of_all
from common.evidence.paper import Paper
from common.evidence.plotting import (
    COLOURS,
    empty,
    explain,
    figure,
    gallery_figure,
    legend_below,
    over_seeds,
)
from papers.deep_compression.coding import SharedTensor, Tensors, code_lengths, read
from papers.deep_compression.facts import SHAPES, kilobytes

NETWORKS = (("lenet300", "lenet_300_100", "LeNet-300-100", ("300", 3)),
            ("lenet5", "lenet_5", "LeNet-5", ("5", 2)))
PUBLISHED = {"300": ((1070, "ref-300"), (1070 / 12, "pruned-300"), (27, "compressed-300")),
             "5": ((1720, "ref-5"), (1720 / 12, "pruned-5"), (44, "compressed-5"))}
"""KB of each published error; of pruned networks a twelfth, as "12×" counts weights alone."""


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield stages(paper)
    yield pattern(paper)
    yield codebook(paper)
    yield tickets(paper)
    yield published_rounds(paper)


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: error over size, from training to the file."""
    fig, axes = gallery_figure()
    claims = {c.id: c.published for c in paper.claims if c.published is not None}
    for (name, network, title, (short, prunings)), colour, y in zip(
            NETWORKS, COLOURS, (1.92, 1.2), strict=False):
        walks = [walk(paper, name, network, prunings, r.seed)
                 for r in paper.results.get(f"{name}_reference", [])]
        ends = [stage for stage in ("trained", f"pruned {prunings}", "file")
                if any(stage == p[0] for points in walks for p in points)]
        means = [np.mean([p[1:] for points in walks for p in points if p[0] == stage], axis=0)
                 for stage in ends]
        if means:
            axes.plot(*np.transpose(means), "o-", color=colour, ms=5)
        known = [(kb, claims[i]) for kb, i in PUBLISHED[short]]
        axes.plot(*zip(*known, strict=True), "*--", color=colour, ms=8, lw=1)
        axes.text(1700, y, title, color=colour)
    explain(axes, ("ours", {"marker": "o", "color": "grey"}),
            ("published", {"marker": "*", "ms": 8, "lw": 1, "ls": "--", "color": "grey"}))
    axes.set(xscale="log", xlabel="size (KB)", ylabel="test error (%)", xlim=(2500, 20),
             ylim=(0.5, 2.2))
    axes.set_xticks((1000, 100, 30), ("1,000", "100", "30"))
    axes.minorticks_off()
    legend(axes)
    return fig


def walk(paper: Paper, name: str, network: str, prunings: int, seed: int,
         ) -> list[tuple[str, float, float]]:
    """(stage, KB, error in %) of one seed, as far as there are results."""
    found = {e: r for e, rs in paper.results.items() for r in rs if r.seed == seed}
    all_kb, weights_kb = kilobytes(network), 4 * sum(
        float(np.prod(s)) for s in SHAPES[network]().values()) / 1000
    points = []
    if run := found.get(f"{name}_reference"):
        points.append(("trained", all_kb, run.at("error", None)))
    for k in range(1, prunings + 1):
        if run := found.get(f"{name}_pruned_{k}"):
            points.append((f"pruned {k}", weights_kb * run.at("kept_total", None),
                           run.at("error", None)))
    if run := found.get(f"{name}_compressed"):
        kb = weights_kb * run.at("rate_pq_total", None)
        points += [("shared", kb, run.at("error_shared", None)),
                   ("fine-tuned", kb, run.at("error", None)),
                   ("file", run.at("bytes", None) / 1000, run.at("error", None))]
    return points


def stages(paper: Paper) -> tuple[str, str, Figure]:
    """Error stage by stage, and the size that each leaves."""
    fig, panels = figure(1, 2, width=7, height=2.7)
    claims = {c.id: c.published for c in paper.claims if c.published is not None}
    for axes, (name, network, title, (short, prunings)) in zip(panels, NETWORKS, strict=True):
        seeds = sorted({r.seed for r in paper.results.get(f"{name}_reference", [])})
        order = ["trained", *(f"pruned {k}" for k in range(1, prunings + 1)), "shared",
                 "fine-tuned", "file"]
        sizes: dict[str, list[float]] = {stage: [] for stage in order}
        for seed in seeds:
            points = walk(paper, name, network, prunings, seed)
            for stage, kb, _ in points:
                sizes[stage].append(kb)
            axes.plot([order.index(p[0]) for p in points], [p[2] for p in points], "o-",
                      color=COLOURS[seed % 6], lw=1, ms=5, label=f"seed {seed}")
        known = [(at, kb, claims[i])
                 for at, (kb, i) in zip((0, prunings, len(order) - 1), PUBLISHED[short],
                                        strict=True)]
        axes.plot([at for at, *_ in known], [error for *_, error in known], "*--", color="black",
                  ms=9, lw=1, label="published")
        for at, kb, error in known:
            axes.annotate(f"{kb:,.0f} KB", (at, error), (0, -13), textcoords="offset points",
                          ha="center", fontsize=8)
        axes.set_xticks(range(len(order)), [
            stage + (f"\n{np.mean(mine):,.0f} KB" if mine else "")
            for stage, mine in sizes.items()], fontsize=8)
        axes.set(title=title, xlim=(-0.5, len(order) - 0.5))
        axes.margins(y=0.2)
        if not seeds:
            axes.text(0.97, 0.9, "no run yet", ha="right", transform=axes.transAxes)
        axes.set_ylabel("test error (%)")
    legend_of_all(fig)
    return "stages", (
        "Test error stage by stage, from the trained network (left) through prunings, sharing and "
        "fine-tuning to the file (right), and below each stage its size, the mean over seeds. "
        "Pruned networks count 4 bytes a weight kept, without indices, as "
        "the published 12×; shared ones indices and centroids; files every byte. Stars are the "
        "published values."), fig


def file_of(paper: Paper, name: str) -> Tensors | None:
    """The first seed's file, where there is one."""
    path = paper.folder / "results" / f"{name}_compressed" / "seed0.dcn"
    return read(path) if path.exists() else None


def pattern(paper: Paper) -> tuple[str, str, Figure]:
    """Fig. 4 of 2015, and the same by pixel."""
    fig, (left, right) = figure(2, width=4.3, height=2.9, width_ratios=(2.2, 1))
    tensors = file_of(paper, "lenet300")
    if tensors is None:
        empty(left)
        empty(right)
    else:
        weight = tensors["ip1.weight"]
        assert isinstance(weight, SharedTensor)
        kept = weight.codes > 0
        units, pixels = np.nonzero(kept)
        left.plot(pixels, units, ",", color=COLOURS[0], rasterized=True)
        left.set(xlim=(0, kept.shape[1]), ylim=(kept.shape[0], 0), xlabel="pixel, row by row",
                 ylabel="hidden unit")
        left.set_xticks(range(0, 785, 112))
        shown = right.imshow(kept.mean(0).reshape(28, 28), cmap="magma")
        right.set_axis_off()
        fig.colorbar(shown, ax=right, label="part of its 300 weights kept", shrink=0.8)
    left.grid(False)
    right.grid(False)
    return "pattern", (
        "What is left of LeNet-300-100's first layer (seed 0), read from its file: its 300 × 784 "
        "weights, a dot for each that is left, with a band for each of the image's 28 rows (Fig. 4 "
        "of 2015), and the same by pixel. Digits are written in the middle."), fig


def codebook(paper: Paper) -> tuple[str, str, Figure]:
    """How many weights share each value, and what its code costs."""
    fig, panels = figure(3, width=3.2, height=2.8)
    tensors = file_of(paper, "lenet300")
    for axes, layer in zip(panels, ("ip1", "ip2", "ip3"), strict=True):
        axes.set_title(layer)
        axes.set_xlabel("shared weight")
        if tensors is None:
            empty(axes)
            continue
        weight = tensors[f"{layer}.weight"]
        assert isinstance(weight, SharedTensor)
        symbols, _ = weight.entries()
        counts = np.bincount(symbols, minlength=len(weight.centroids) + 1)
        values = np.concatenate([[0], weight.centroids])
        axes.vlines(values[1:], 0, counts[1:], color=COLOURS[0], lw=1.5)
        axes.vlines(0, 0, counts[0], color=COLOURS[1], lw=2)
        axes.set_ylim(0)
        bits = axes.twinx()
        used = counts > 0
        bits.plot(values[used], code_lengths(counts)[used], ".", color=COLOURS[6], ms=4)
        bits.set_ylim(0, 16)
        bits.grid(False)
        bits.spines["right"].set_visible(True)
        bits.axhline(6, color="grey", ls=":", lw=1)
        if layer == "ip3":
            bits.set_ylabel("bits of its Huffman code (dots)")
    panels[0].set_ylabel("weights that share it (lines)")
    legend_below(fig, ("weights that share a centroid", {"color": COLOURS[0]}),
                 ("filler zeros", {"color": COLOURS[1]}),
                 ("bits of the Huffman code", {"marker": ".", "ls": "", "color": COLOURS[6]}),
                 ("6 bits, without it", {"ls": ":", "color": "grey"}))
    return "codebook", (
        "The shared weights of LeNet-300-100 (seed 0), read from its file: a line for each of the "
        "63 centroids, as high as weights share it, red the filler zeros; dots, the bits of its "
        "Huffman code, dotted the 6 bits without. Pruning took the middle of the distribution."), (
            fig)


CURVES = (("short_0", "100 %", 0, "-"), ("short_3", "51.3 %", 2, "-"),
          ("short_7", "21.1 %", 1, "-"),
          ("short_reinit_3", "51.3 %, new weights", 2, "--"),
          ("short_reinit_7", "21.1 %, new weights", 1, "--"))


def by_weights_left(axes: Axes, paper: Paper, stem: str, rounds: int, metric: str,
                    scale: float = 1) -> None:
    """A metric of tickets, and of the same masks with new weights, over the weights left."""
    for name, label, style in ((f"{stem}_", "ticket", "o-"),
                               (f"{stem}_reinit_", "new weights", "s--")):
        known = [(100 * r.at("kept_total", None), scale * r.at(metric, None))
                 for k in range(rounds) for r in paper.results.get(f"{name}{k}", [])]
        levels = sorted({x for x, _ in known}, reverse=True)
        if known:
            means = [np.mean([y for x, y in known if x == level]) for level in levels]
            (drawn,) = axes.plot(levels, means, style, label=label, ms=4)
            axes.plot(*zip(*known, strict=True), ".", color=drawn.get_color(), ms=3)
    axes.set(xscale="log", xlabel="weights left (%)")
    axes.minorticks_off()
    axes.invert_xaxis()
    if axes.lines:
        explain(axes, ("a run", {"marker": ".", "ls": "", "color": "grey", "ms": 3}))
        legend(axes)
    else:
        empty(axes)


def tickets(paper: Paper) -> tuple[str, str, Figure]:
    """Fig. 3 of Frankle & Carbin in 3,000 iterations, and accuracy at early stopping."""
    fig, (left, right) = figure(2, width=4.2)
    for name, label, colour, style in CURVES:
        runs = paper.results.get(name, [])
        if runs:
            steps = runs[0].curves["val_accuracy"][0]
            over_seeds(left, steps, 100 * np.stack([r.curves["val_accuracy"][1] for r in runs]),
                       label, COLOURS[colour])
            left.lines[-1].set_linestyle(style)
    by_weights_left(right, paper, "short", 8, "stop_accuracy", 100)
    left.set(xlabel="iteration", ylabel="validation accuracy (%)", ylim=(92, 98.5))
    right.set(ylabel="test accuracy at early stopping (%)")
    right.set_xticks([100, 51.3, 21.1], ["100", "51.3", "21.1"])
    if left.lines:
        legend(left)
    else:
        empty(left)
    return "tickets", (
        "Lottery tickets of LeNet-300-100, 3,000 iterations a round: how fast they learn, beside "
        "the same masks with new initial weights (broken lines), and the test accuracy where the "
        "validation loss is least."), fig


def published_rounds(paper: Paper) -> tuple[str, str, Figure]:
    """Fig. 4 (a, b) of Frankle & Carbin: early stopping over the weights left."""
    fig, (left, right) = figure(2, width=4.2)
    by_weights_left(left, paper, "ticket", 16, "stop")
    by_weights_left(right, paper, "ticket", 16, "stop_accuracy", 100)
    left.set(ylabel="iteration of early stopping", ylim=(0, None))
    right.set(ylabel="test accuracy at early stopping (%)")
    for axes in (left, right):
        shown = [100, 51.3, 21.1, 7, 3.6]
        axes.set_xticks(shown, [f"{x:g}" for x in shown])
    return "rounds", (
        "Lottery tickets of LeNet-300-100 as published, 50,000 iterations a round: where the "
        "validation loss is least, and the test accuracy there, over the weights left."), fig
