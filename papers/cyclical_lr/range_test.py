"""The range test of section 3.3: two learning rates from one short run.

    python papers/cyclical_lr/train.py experiment=range_test
    python papers/cyclical_lr/range_test.py runs/cyclical_lr/range_test/seed0

The second command prints the edges of a finished run and draws them, into ``range_test.png`` in its
folder. :func:`edges` takes the rates and accuracies of any training whose rate rises linearly.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from common.entry import exit_with

import numpy as np
from matplotlib.axes import Axes

from common.config import Config
from common.errors import UserError, asks_for_help
from common.evidence import results
from common.evidence.plotting import COLOURS, figure, png, style
from common.files import shown, write_atomic

STARTED, SLOWED, RAGGED = 0.05, 0.95, 0.1
"""Fractions of the accuracy's total rise, see :func:`edges`."""

WINDOW = 3
"""Number of neighbouring evaluations averaged."""


def edges(rates: Sequence[float] | np.ndarray, accuracies: Sequence[float] | np.ndarray
          ) -> tuple[float, float] | None:
    """The two rates of section 3.3: where the accuracy starts to increase, and where that ends.

    The paper asks for the rate "when the accuracy starts to increase" and the rate "when the
    accuracy slows, becomes ragged, or starts to fall". Here accuracies are averaged over three
    neighbours, and the rise is from the lowest accuracy before the highest one to the highest:

    - the increase starts at the first rate after the lowest accuracy with 5 % of the rise;
    - it slows at the first rate with 95 % of the rise;
    - it becomes ragged or falls where, after half of the rise, a single accuracy is 10 % of the
      rise below the best one before it; the edge is then the previous rate.

    Args:
        rates: ascending, one for each evaluation.
        accuracies: in any unit.

    Returns:
        The lower and the upper edge; None if nothing rises or for fewer than five evaluations.
    """
    a = np.asarray(accuracies, dtype=float)
    if len(a) < 5:
        return None
    half = WINDOW // 2
    mean = np.array([a[max(0, k - half):k + half + 1].mean() for k in range(len(a))])
    peak = int(mean.argmax())
    lowest = int(mean[:peak + 1].argmin())
    floor = mean[lowest]
    rise = mean[peak] - floor
    if not rise > 0:
        return None
    share = (mean - floor) / rise
    lower = lowest + int(np.flatnonzero(share[lowest:] >= STARTED)[0])
    slowed = lowest + int(np.flatnonzero(share[lowest:] >= SLOWED)[0])
    below = np.maximum.accumulate(a) - a > RAGGED * rise
    ragged = np.flatnonzero(below & (np.maximum.accumulate(share) >= 0.5))
    upper = min(slowed, int(ragged[0]) - 1) if len(ragged) else slowed
    return float(rates[lower]), float(rates[max(upper, lower)])


def draw(axes: Axes, rates: Sequence[float] | np.ndarray,
         accuracies: Sequence[float] | np.ndarray,
         bounds: tuple[float, float] | None, colour: str = COLOURS[0], label: str = "") -> None:
    """Plot accuracy against rate, with the edges as lines."""
    axes.plot(rates, accuracies, ".-", color=colour, lw=1, ms=4, label=label or None)
    if bounds is not None:
        for x, text, height in zip(bounds, ("base_lr", "max_lr"), (0.02, 0.1), strict=True):
            axes.axvline(x, color=colour, ls="--", lw=1)
            axes.annotate(f"{text} {x:.2g}", (x, height), xycoords=("data", "axes fraction"),
                          xytext=(3, 0), textcoords="offset points", color=colour)
        axes.axvspan(*bounds, color=colour, alpha=0.08, lw=0)
    axes.set(xlabel="learning rate, rising in a straight line", ylabel="accuracy (%)")


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the rates and accuracies of a finished run.

    Args:
        path: the run's folder, or its JSON result.

    Raises:
        UserError: there is no result, it is damaged, or it is not from a range test.
    """
    file = path / "result.json" if path.is_dir() else path
    curves = results.parse(file, Config).curves if file.is_file() else {}
    steps, values = zip(*(curves.get(k, ((), ())) for k in ("rate", "accuracy")), strict=True)
    if not len(steps[0]) or not np.array_equal(*steps) or not np.isfinite(values).all():
        raise UserError(f"{shown(path)}: expected the folder of a finished run with "
                        "schedule.policy=range_test")
    return np.asarray(values[0], dtype=float), np.asarray(values[1], dtype=float)


def main(argv: list[str]) -> int:
    """The command line; see the module's docstring."""
    if asks_for_help(argv, __doc__):
        return 0
    if len(argv) != 1:
        raise UserError(f"{' '.join(argv) or 'no argument'}: expected one, the folder of a finished"
                        " range test, as in python papers/cyclical_lr/range_test.py "
                        "runs/cyclical_lr/range_test/seed0")
    path = Path(argv[0])
    rates, accuracies = read(path)
    bounds = edges(rates, accuracies)
    print(f"the rate rose to {rates.max():.2g}")
    print("the accuracy never rose: try other rates" if bounds is None else
          f"schedule.base_lr={bounds[0]:.2g} schedule.max_lr={bounds[1]:.2g}")
    with style():
        fig, axes = figure(width=6.4, height=4)
        draw(axes, rates, accuracies, bounds)
        picture = (path if path.is_dir() else path.parent) / "range_test.png"
        write_atomic(picture, png(fig))
    print(f"accuracy against rate: {shown(picture)}")
    return 0


if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
