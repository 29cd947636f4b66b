"""The figures of the report: Fig. 2, Fig. 4 and Table 2, published beside measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.evidence.legends import legend, legend_of_all
from common.evidence.paper import Paper
from common.evidence.plotting import (
    COLOURS,
    dots,
    figure,
    gallery_figure,
    label_points,
    legend_below,
    over_seeds,
    published_bar,
)
from common.evidence.results import Result
from papers.bayes_by_backprop.facts import (
    SPREAD,
    UPDATES,
    by_validation_error,
    lowest_cost,
    quartiles,
    width_by_entropy,
)
from papers.bayes_by_backprop.train import GRID

ARMS = [("sgd", "SGD", COLOURS[1]), ("dropout", "dropout", COLOURS[2]),
        ("gaussian", "BBB, Gaussian", COLOURS[4]), ("mixture", "BBB, scale mixture", COLOURS[0])]
BESIDE = [("mixture_decay_400", "BBB, scale mixture, rate falls", COLOURS[3]),
          ("mixture_slow_400", "BBB, scale mixture, lr 1e−4", COLOURS[5])]
"""Runs at 400 units that are in no table of the paper."""

EXPLORE = (("bandit_bbb", "as in Fig. 6"), ("explore_rho", "ρ = −5"),
           ("explore_noise", "noise 0.3, lr × 0.09"), ("explore_falling", "rate falls"),
           ("explore_passes", "passes"))
"""Kinds of BBB agents: the one of Fig. 6 and changes to it."""

UNITS = (400, 800, 1200)

BBB = "BBB is Bayes by Backprop."


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield table1(paper)
    yield fig2(paper)
    yield posterior(paper)
    yield fig5(paper)
    yield fig6(paper)
    if any(name.startswith("explore_") for name in paper.results):
        yield explore(paper)
    if any(f"{arm}_400" in paper.results for arm, _, _ in ARMS):
        yield uncertainty(paper)
    yield search(paper)


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: Fig. 5, what is predicted beyond the data."""
    fig, panels = gallery_figure(2, sharey=True)
    regressions(panels, paper, ("data", "quartiles", "median"))
    for axes in panels:
        axes.set(xticks=(0, 0.5, 1), yticks=(0, 1))
        axes.set_title(axes.get_title(), fontsize=9)
        legend(axes, loc="lower right")
    panels[0].set_ylabel("y")
    return fig


def table1(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(3, width=2.9, height=3.4, sharey=True)
    published = paper.published("table1")
    for axes, units in zip(panels, UNITS, strict=True):
        at_units = list(published["units"]).index(units)
        for k, (arm, _, colour) in enumerate(ARMS):
            published_bar(axes, k, published[arm][at_units], 0.4)
            for run in paper.results.get(f"{arm}_{units}", []):
                axes.plot(k - 0.25, run.metrics["selected_error"], "x", ms=5, color=colour)
                axes.plot(k, by_validation_error(run), "^", ms=4, color=colour)
                axes.plot(k + 0.25, run.metrics["error"], "o", ms=3.5, color=colour)
        axes.set_xticks(range(len(ARMS)), [label.replace(", ", ",\n").replace(" ", "\n")
                                           for _, label, _ in ARMS], fontsize=8)
        axes.set(title=f"{units} units a layer", ylim=(1.0, 2.4), xlim=(-0.6, len(ARMS) - 0.4))
    panels[0].set_ylabel("test error on MNIST (%)")
    legend_below(fig, ("published", {"color": "black", "lw": 2}),
                 *((f"measured, {when}", {"marker": sign, "ls": "", "color": "grey", "ms": size})
                   for when, sign, size in (("lowest validation cost", "x", 5),
                                            ("lowest validation error", "^", 4),
                                            ("last epoch", "o", 3.5))))
    return "table1", (f"Table 1: test error by method and width; a bar is the published value, a "
                      f"mark one seed here, at three epochs of each run; without marks: "
                      f"not run. {BBB}"), fig


def fig2(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(2, sharey=True)
    levels = {"sgd": 1.856, "dropout": 1.40, "mixture": 1.32}  # at 500 to 600 epochs, 1200 units
    for axes, units in zip(panels, (400, 1200), strict=True):
        lines = [(arm, f"{arm}_{units}", label, colour) for arm, label, colour in ARMS]
        if units == 400:
            lines += [("beside", *line) for line in BESIDE]
        for arm, name, label, colour in lines:
            runs = paper.results.get(name, [])
            if runs:
                steps = runs[0].curves["error"][0] / UPDATES
                over_seeds(axes, steps, np.stack([r.curves["error"][1] for r in runs]), label,
                           colour)
            if units == 1200 and arm in levels:
                axes.plot([500, 600], [levels[arm]] * 2, "--", color=colour,
                          label=f"{label}, published")
        axes.set(xlabel="epochs", title=f"{units} units", ylim=(0.8, 3))
    panels[0].set(ylabel="test error on MNIST (%)")
    legend_of_all(fig)
    return "fig2", ("Fig. 2: test error during training, mean and range over seeds; dashed: the "
                    f"paper's level from epoch 500 to 600. {BBB}"), fig


def posterior(paper: Paper) -> tuple[str, str, Figure]:
    fig, (left, right) = figure(2, height=3.6)
    snr, pruning = paper.published("fig4"), paper.published("table2")
    left.plot(snr["log_snr"], snr["percent"], "o--", color="black", label="published, 1200 units")
    right.plot(pruning["removed"], pruning["error"], "o--", color="black",
               label="published, 1200 units")
    lines = [(f"{arm}_{units}", f"{label}, {units}", colour, style)
             for arm, label, colour in ARMS[2:]
             for units, style in ((400, "-"), (800, "^--"), (1200, "s-."))]
    for name, label, colour, style in [*lines, *((*line, "-") for line in BESIDE)]:
        for run in paper.results.get(name, [])[:1]:
            q = (5, 25, 50, 75, 95, 98)
            left.plot([run.metrics[f"log_snr_{k}"] for k in q], q, style, color=colour,
                      ms=4, label=label)
            removed = (0, 50, 75, 95, 98)
            right.plot(removed, [run.metrics["error"], *(
                run.metrics[f"pruned_{k}"] for k in removed[1:])], style, color=colour, ms=4)
    left.set(xlabel="log10 |μ|/σ", ylabel="% of weights below")
    right.set(xlabel="% of weights removed, lowest |μ|/σ first", ylabel="test error (%)",
              ylim=(1, 4))
    legend_of_all(fig)
    return "posterior", ("Fig. 4 and Table 2: the signal-to-noise ratio of weights, and the error "
                         "of the mean network with the noisiest weights set to zero, the first "
                         f"seed of each, what is beside the paper at 400 units. {BBB}"), fig


REGRESSION = (("regression_bbb", "Bayes by Backprop", COLOURS[0]),
              ("regression_sgd", "plain network", COLOURS[1]))


def fig5(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(2, sharey=True)
    regressions(panels, paper, ("the paper's 598 points", "interquartile range", "median"))
    for axes in panels:
        legend(axes)
    panels[0].set(ylabel="y")
    return "fig5", ("Fig. 5: median and interquartile range of the predictions (first seed), and "
                    "the paper's 598 points."), fig


def regressions(panels: np.ndarray, paper: Paper, names: tuple[str, str, str]) -> None:
    """A panel for each network of the regression: points, quartiles and medians, so named."""
    points, x = paper.published("fig5_points"), GRID.squeeze().numpy()
    for axes, (name, label, colour) in zip(panels, REGRESSION, strict=True):
        axes.plot(points["x"], points["y"], ".", color="black", markersize=1.5, label=names[0])
        for run in paper.results.get(name, [])[:1]:
            low, median, high = quartiles(run)
            axes.fill_between(x, low, high, color=colour, alpha=0.3, linewidth=0,
                              label=names[1])
            axes.plot(x, median, color=colour, label=names[2])
        axes.set(xlabel="x", title=label, xlim=(-0.25, 1.25), ylim=(-0.6, 1.4))


def of_agents(runs: list[Result]) -> list[float]:
    """The regret of every agent at the end."""
    return [v for r in runs for m, v in r.metrics.items() if m.startswith("regret_")]


def fig6(paper: Paper) -> tuple[str, str, Figure]:
    priors = sorted(((runs[0].config["prior.minus_log_sigma1"], name)
                     for name, runs in paper.results.items()
                     if name.startswith("search_bandit_prior")), reverse=True)
    fig, panels = figure(2, 2, height=3.2)
    axes, named, searches, *more = panels.flat
    published = paper.published("fig6")
    for k, (name, label) in enumerate((("bandit_5", "5 % random"), ("bandit_1", "1 % random"),
                                       ("bandit_greedy", "greedy"), ("bandit_bbb", "BBB"))):
        colour = COLOURS[(3 - k) % len(COLOURS)]
        axes.plot(published["steps"], published[name], "o--", color=colour, markersize=3,
                  linewidth=0.8, label=f"{label}, published")
        runs = paper.results.get(name, [])
        if runs:
            steps = runs[0].curves["regret"][0]
            over_seeds(axes, steps, np.stack([r.curves["regret"][1] for r in runs]), label, colour)
            dots(axes, steps[-1] + 1700 * (k + 1), sorted(of_agents(runs)), colour, "x",
                 spread=500, markersize=4)
    axes.set(xlabel="mushrooms", ylabel="cumulative regret", yscale="log", ylim=(300, 200_000))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    handles, labels = axes.get_legend_handles_labels()
    named.set_axis_off()
    named.legend(handles, labels, loc="center left", ncols=2)
    legend_below(fig, ("an agent at the end", {"marker": "x", "ls": "", "color": "black"}),
                 ("an agent of the search", {"marker": ".", "ls": "", "color": "black"}),
                 ("mean of a setting's agents", {"marker": "_", "ls": "", "color": "black",
                                                 "markersize": 14}))
    searched = sorted((r.config["model.arm"] == "bbb", r.config["model.rho"], r.config["optim.lr"],
                       name) for name, (r, *_) in paper.results.items()
                      if name.startswith(("search_bandit_bbb", "search_bandit_greedy")))
    settings(searches, paper, [name for *_, name in searched],
             [(f"BBB, ρ = −{-ρ:g}" if bbb else "greedy")
              + f", lr {f'{lr:.0e}'.replace('-0', '−')}" for bbb, ρ, lr, _ in searched])
    searches.set(title="search: regret after 3,000 mushrooms", ylabel="cumulative regret")
    more[0].set_axis_off()
    for axes in more if priors else ():
        axes.set_axis_on()
        settings(axes, paper, [name for _, name in priors],
                 [f"BBB, σ1 = {np.exp(-k):.2f}" for k, _ in priors])
        axes.set(title="search: regret after 10,000")
    return "fig6", ("Fig. 6: cumulative regret, mean over agents, published (dots, of five) and "
                    "measured; crosses: every agent at the end. Below: what the agents were "
                    "given; a dot is an agent, a bar their mean. Shaded: from the lowest to the "
                    f"highest seed. {BBB}"), fig


def explore(paper: Paper) -> tuple[str, str, Figure]:
    fig, (regret, width) = figure(2, height=3.4)
    published = paper.published("fig6")
    upto = published["steps"] <= 20_000
    labels = [label for _, label in EXPLORE]
    regret.plot(published["steps"][upto], published["bandit_bbb"][upto], "o--", color="black",
                markersize=3, linewidth=0.8, label="published")
    for k, (name, label) in enumerate(EXPLORE):
        runs = paper.results.get(name, [])
        if runs:
            steps = runs[0].curves["regret"][0]
            early = steps <= 20_000
            over_seeds(regret, steps[early],
                       np.stack([r.curves["regret"][1][early] for r in runs]), label, COLOURS[k])
            labels[k] += f",\n{steps[-1]:,.0f}"
            published_bar(width, k, width_by_entropy(runs[0]))
            dots(width, k, [r.metrics["median_sigma"] for r in runs], COLOURS[k], markersize=4)
    regret.set(xlabel="mushrooms", ylabel="cumulative regret", ylim=(0, None),
               xticks=range(0, 20_001, 5000))
    regret.xaxis.set_major_formatter("{x:,.0f}")
    regret.yaxis.set_major_formatter("{x:,.0f}")
    width.set(ylabel="median σ at the end", ylim=(0, None), xlim=(-0.6, len(EXPLORE) - 0.4))
    width.set_xticks(range(len(EXPLORE)), labels, rotation=40, ha="right", fontsize=8)
    legend(regret, loc="lower right")
    legend_below(fig, ("if the entropy of q alone moved it", {"color": "black", "lw": 2}),
                 ("measured, a run of five agents", {"marker": "o", "ls": "", "color": "grey"}))
    return "explore", (
        "Why BBB goes on exploring: the agents of Fig. 6 and four changes. On the left "
        "their regret, mean over agents; on the right the posterior's width after so many "
        f"mushrooms, measured and as the entropy term alone predicts. {BBB}"), fig


def settings(axes: Axes, paper: Paper, names: list[str], labels: list[str]) -> None:
    """The regret of every agent, a column per setting."""
    for k, name in enumerate(names):
        runs = paper.results[name]
        agents = of_agents(runs)
        bbb = runs[0].config["model.arm"] == "bbb"
        axes.plot([k] * len(agents), agents, ".", color=COLOURS[0 if bbb else 1])
        axes.plot(k, np.mean(agents), "_", color="black", markersize=14)
    axes.set(ylim=(0, None), xlim=(-0.5, max(len(names), 1) - 0.5), xticks=range(len(names)))
    axes.set_xticklabels(labels, rotation=40, ha="right", fontsize=8)
    axes.yaxis.set_major_formatter("{x:,.0f}")


def uncertainty(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(3, width=3.2)
    quantities = (("entropy", "predictive entropy (nats)", 1),
                  ("epistemic", "epistemic part (nats)", 1),
                  ("ece", "calibration error (%)", 100))
    for axes, (metric, label, scale) in zip(panels, quantities, strict=True):
        for k, (arm, _, colour) in enumerate(ARMS):
            for units, side in ((400, -0.12), (1200, 0.12)):
                for run in paper.results.get(f"{arm}_{units}", []):
                    filled = colour if units == 400 else "none"
                    axes.plot(k + side, scale * run.metrics[metric], "o", color=colour,
                              markerfacecolor=filled)
                    if f"turned_{metric}" in run.metrics:
                        axes.plot(k + side, scale * run.metrics[f"turned_{metric}"], "s",
                                  color=colour, markerfacecolor=filled)
        axes.set(title=label, xlim=(-0.5, 3.5), ylim=(0, None), xticks=range(len(ARMS)))
        axes.set_xticklabels([label.replace(", ", ",\n").replace(" ", "\n")
                              for _, label, _ in ARMS], fontsize=8)
    legend_below(fig, ("test images", {"marker": "o", "ls": "", "color": "grey"}),
                 ("turned by 90°", {"marker": "s", "ls": "", "color": "grey"}),
                 ("400 units", {"marker": "o", "ls": "", "color": "black"}),
                 ("1200 units", {"marker": "o", "ls": "", "color": "black",
                                 "markerfacecolor": "none"}))
    return "uncertainty", (
        "How sure the networks are: on the test images (circles) and on the same turned by 90° "
        "(squares), which they have not learned; 400 units filled, 1200 open, one mark "
        f"a seed. {BBB}"), fig


def search(paper: Paper) -> tuple[str, str, Figure]:
    fig, (left, right) = figure(2, height=4.5)
    markers = {-3.0: "o", -4.0: "s", -5.0: "^"}
    colours = {"gaussian": COLOURS[4], "mixture": COLOURS[0]}
    names = {"pi": "π", "sigma2": "−ln σ2", "mu": "initial μ sd", "lr": "lr", "kl": "KL weights",
             "samples": "samples", "rho": "2 samples, ρ", "five": "ρ −3.0, samples",
             "log2": "ρ −3.0, σ1, σ2 ="}
    points: dict[Axes, list[tuple[float, float, str]]] = {left: [], right: []}

    def mark(axes: Axes, run: Result, label: str, colour: str, marker: str) -> None:
        x, y = run.metrics["weight_sd"], lowest_cost(run)
        axes.plot(x, y, marker, color=colour, markersize=5)
        points[axes].append((x, y, label))

    for name, runs in paper.results.items():
        searched, kind, *values = name.split("_")
        if searched != "search" or kind not in colours:
            continue
        if kind == "mixture" and values[0] in names:
            key, *rest = (v.replace("-", "−") for v in values)
            if key == "log2":
                rest = [f"2$^{{−{float(v) / np.log(2):.0f}}}$" for v in rest]
            mark(right, runs[0], f"{names[key]} {', '.join(rest)}", COLOURS[2], "D")
        else:
            exponent = f"e$^{{-{float(values[0]):g}}}$" if float(values[0]) else "1"
            σ = f"σ={values[0]}" if kind == "gaussian" else f"σ1={exponent}"
            mark(left, runs[0], σ, colours[kind], markers[float(values[1])])
    for run in paper.results.get("search_mixture_1.0_-4.0", []):
        mark(right, run, "as it is", COLOURS[0], "s")
    for axes, title in ((left, "prior and initial ρ"),
                        (right, "changes to the mixture of σ1=e$^{-1}$, ρ = −4")):
        axes.axvline(SPREAD, color="grey", ls=":", lw=0.8)
        axes.set(xlabel="sd of sampled weights", title=title, xlim=(0, 0.13))
    left.set(ylabel="lowest validation cost (nats an image)")
    right.margins(y=0.12)  # room for the lowest label
    legend_below(
        fig, *((f"ρ = −{-ρ:g}", {"marker": marker, "ls": "", "color": "grey"})
                for ρ, marker in markers.items()),
        *((label, {"marker": "o", "ls": "", "color": colours[kind]}) for kind, label in (
            ("gaussian", "Gaussian prior"), ("mixture", "scale mixture"))),
        ("changed", {"marker": "D", "ls": "", "color": COLOURS[2]}), columns=6)
    for axes, marked in points.items():
        label_points(axes, marked)
    return "search", (
        "The search, 60 epochs a setting at 400 units, each panel with a scale of its own: cost on "
        "the validation split, and what "
        "Fig. 3 shows of the posterior. Left of the dotted line a posterior counts as "
        "collapsed."), fig
