"""Comparison of the forms of a trained network: size, test error, speed on one core."""

from __future__ import annotations

import json
import re
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator
from pydantic import Field, model_validator
from torch import Tensor

from common.evidence import plotting, tables
from common.evidence.provenance import origin, say_uncommitted
from common.files import ROOT, write_atomic
from common.running.export import Predict, reader, to_int8, to_onnx, torchs, tried
from common.running.ready import Ready
from common.segments import Origin
from common.typed import Model, Open, read_json

WRITERS = {"onnx": to_onnx, "int8": to_int8}
BATCHES = {1: 200, 256: 10}
"""The batch sizes, and how many calls of each are timed."""

LABELS = {"torch": "float32, torch", "onnx": "float32, ONNX Runtime",
          "int8": "8 bits, ONNX Runtime"}
"""The names of the forms in the table."""

MARKS = {"torch": "o", "onnx": "s", "int8": "^"}
TITLES = {"cifar10": "CIFAR-10", "mnist": "MNIST"}
"""How the picture's panels call data sets; others keep their name."""

SIZES = (100e3, 1e6, 5e6)
"""The file sizes in the picture's legend, in bytes."""

PICTURE = Path("papers/exports.svg")
"""The picture's file, shown in papers/STUDY.md."""

class OfWeights(Open):
    """The JSON file beside a file of weights: its data set, and its test error in %."""

    data: str
    error: float

    def told(self) -> tuple[str, float]:
        """Data set and error."""
        return self.data, self.error


class OfResult(Open):
    """The same in a run's result, beside a compressed network."""

    class Data(Open):
        name: str

    class Metrics(Open):
        error: float

    data: Data
    metrics: Metrics

    def told(self) -> tuple[str, float]:
        """Data set and error."""
        return self.data.name, self.metrics.error


DOWNLOADABLE: dict[str, type[OfWeights | OfResult]] = {
    "papers/*/weights/*.safetensors": OfWeights, "papers/*/results/*/seed*.dcn": OfResult}
"""Patterns of the files that users download; each has a card and a JSON file beside it."""

HEAD = ["network", "form", "KB", "test error, %", "same class as torch, %",
        "logits apart from torch's, at most", "time an image over the first row's, one at a time",
        "256 at a time"]


class Form(Model):
    """The measurements of one form of a network.

    Attributes:
        bytes: its size.
        error: its error on the test images, in %.
        same: the fraction of images to which it gives the same class as torch.
        furthest: the largest difference of a logit from torch's.
        milliseconds: time per image, by batch size.
    """

    bytes: int = Field(gt=0)
    error: float
    same: float
    furthest: float
    milliseconds: dict[str, float]


class Compared(Model):
    """The forms of a network, as stored in ``exports/``; ``torch`` is always among them."""

    name: str
    paper: str
    data: str
    images: int = Field(gt=0)
    made: Origin
    forms: dict[Literal["torch", "onnx", "int8"], Form]

    @model_validator(mode="after")
    def _whole(self) -> Compared:
        batches = {str(n) for n in BATCHES}
        if "torch" not in self.forms or any(f.milliseconds.keys() != batches
                                            for f in self.forms.values()):
            raise ValueError("forms: expected torch among them, each with milliseconds of "
                             f"{' and '.join(sorted(batches))}")
        return self


def milliseconds(forms: dict[str, Predict], images: Tensor, calls: int) -> dict[str, float]:
    """Milliseconds per image for one batch: the median over calls in which the forms take turns."""
    found: dict[str, list[float]] = {name: [] for name in forms}
    batch = images.numpy()
    for k in range(calls + 1):  # the first is a warm-up
        for name in (forms if k % 2 else reversed(forms)):
            began = time.perf_counter()
            forms[name](batch)
            found[name].append(1000 * (time.perf_counter() - began) / len(batch))
    return {name: statistics.median(times[1:]) for name, times in found.items()}


def compare(ready: Ready) -> Compared:
    """Compare all forms of a network, on the same images and timed in turn on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    weights = ready.network.model.state_dict().values()
    predict, sizes = {"torch": torchs(ready)}, {
        "torch": sum(t.numel() * t.element_size() for t in weights)}
    try:
        with tempfile.TemporaryDirectory() as folder:
            for form, write in WRITERS.items():
                path = Path(folder, f"{form}.onnx")
                write(ready, path)
                predict[form], sizes[form] = reader(path), path.stat().st_size
            times = {n: milliseconds(predict, ready.images[:n], calls)
                     for n, calls in BATCHES.items()}
            trials = {form: tried(p, ready) for form, p in predict.items()}
        made = origin(torch.device("cpu"))
    finally:
        torch.set_num_threads(threads)
    return Compared.model_validate({
        "name": ready.name, "paper": ready.paper, "data": ready.data,
        "images": len(ready.images), "made": made,
        "forms": {form: {"bytes": sizes[form], "error": t.error, "same": t.same / t.images,
                         "furthest": t.furthest,
                         "milliseconds": {str(n): times[n][form] for n in BATCHES}}
                  for form, t in trials.items()}})


def keep(ready: Ready, compared: Compared) -> Path:
    """Write a comparison into the paper's folder and redraw the picture, for papers/STUDY.md."""
    say_uncommitted()
    path = ROOT / "papers" / ready.paper / "exports" / f"{ready.name}.json"
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, json.dumps(compared.written(), indent=1, ensure_ascii=False) + "\n")
    write_atomic(ROOT / PICTURE, drawn(recorded()))
    return path


def picture(compared: Sequence[Compared]) -> Figure:
    """Plot test error against time per image at batch size 1, in a panel for each data set.

    Every form has a mark of its own, whose area shows the size. Times are divided by that of the
    first network in torch, as in :func:`table`. All networks of a family (the first word of the
    name) have one colour. Within a family, the marks of the second network are hollow; networks of
    equal size and error coincide and share a label.
    """
    first = compared[0].forms["torch"].milliseconds["1"]
    sets = list(dict.fromkeys(f.data for f in compared))
    colours = dict(zip(dict.fromkeys(map(family, compared)), plotting.COLOURS, strict=False))
    with plotting.style():
        fig, panels = plotting.figure(len(sets), width=4.6, height=3.6, squeeze=False)
        for axes, data in zip(panels[0], sets, strict=True):
            seen: dict[str, list[Line2D]] = {}  # by family, the lines of different networks
            for f in (f for f in compared if f.data == data):
                points = [(m.milliseconds["1"] / first, m.error, m.bytes)
                          for m in f.forms.values()]
                x, y, size = zip(*points, strict=True)
                colour, lines = colours[family(f)], seen.setdefault(family(f), [])
                same = next((line for line in lines if line.get_gid() == mark_key(f)), None)
                hollow = lines.index(same) if same else len(lines)
                (line,) = axes.plot(x, y, "--" if hollow else "-", color=colour, lw=0.8, zorder=1,
                                    gid=mark_key(f),
                                    label="_" if same else label(f))
                if same:
                    same.set_label(f"{same.get_label()},\n{label(f)}")
                else:
                    lines.append(line)
                for form, *at in zip(f.forms, x, y, size, strict=True):
                    axes.scatter(*at[:2], s=area(at[2]), marker=MARKS[form], edgecolors=colour,
                                 facecolors="white" if hollow else colour, zorder=2)
            axes.set(title=TITLES.get(data, data), xscale="log",
                     xlabel=f"time an image, one at a time ({compared[0].paper}'s in torch = 1)")
            axes.margins(0.12)  # marks are large
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
            axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.08), ncols=1)
        panels[0][0].set_ylabel("test error (%)")
        plotting.legend_below(fig, *((LABELS[form], {"marker": mark, "color": "black", "ls": ""})
                                      for form, mark in MARKS.items()),
                              *((f"{size / 1e6:g} MB", {"marker": "o", "color": "grey", "ls": "",
                                                        "ms": area(size) ** 0.5})
                                for size in SIZES), columns=6 if len(sets) > 1 else 3)
    return fig


def label(f: Compared) -> str:
    """A network in the legend: its paper and its name without the seed, one word if both are."""
    return " ".join(dict.fromkeys([f.paper, re.sub(r"-seed\d+$", "", f.name)]))


def family(f: Compared) -> str:
    """The first word of a network's name: ``resnet20`` of ``resnet20_smallest-seed0``."""
    return re.split("[-_]", f.name)[0]


def mark_key(f: Compared) -> str:
    """A text with size and error, equal for networks that coincide in the picture."""
    one = f.forms["torch"]
    return f"{one.bytes} {one.error:.2f}"


def area(size: float) -> float:
    """The area of a mark in square points, for a file size in bytes."""
    return 12 + size / 20000


def drawn(compared: Sequence[Compared]) -> bytes:
    """The picture as SVG."""
    with plotting.style():
        return plotting.svg(picture(compared))


def recorded() -> list[Compared]:
    """Read all stored comparisons, by data set, the largest network first.

    Raises:
        UserError: a file is damaged.
    """
    compared = [read_json(Compared, p) for p in sorted(ROOT.glob("papers/*/exports/*.json"))]
    return sorted(compared, key=lambda f: (f.data, -f.forms["torch"].bytes))


def downloadable() -> list[tuple[Path, str, float]]:
    """All files of trained weights for users to download, by data set, the smallest first.

    Returns:
        (path below the root, data set, test error in %) of each; the error is from the JSON file
        beside it.

    Raises:
        UserError: a JSON file is missing or damaged.
    """
    files = [(path.relative_to(ROOT), *read_json(model, path.with_suffix(".json")).told())
             for pattern, model in DOWNLOADABLE.items() for path in ROOT.glob(pattern)]
    return sorted(files, key=lambda f: (f[1], (ROOT / f[0]).stat().st_size))


def downloads(files: Sequence[tuple[Path, str, float]]) -> str:
    """A Markdown table of what :func:`downloadable` lists, with links for papers/STUDY.md."""
    return tables.table(["file", "data set", "KB", "test error, %"], [
        [f"[{path.parts[1]} `{path.name if path.parts[2] == 'weights' else path.parts[3]}`]"
         f"({path.with_suffix('.md').relative_to('papers')})", data,
         f"{(ROOT / path).stat().st_size / 1000:,.1f}", f"{error:.2f}"]
        for path, data, error in files])


def ratio(value: float) -> str:
    """A ratio with two decimals, or with two significant digits if it is below 0.1."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def table(compared: Sequence[Compared]) -> str:
    """A Markdown table of networks and forms; times are divided by the first network's in torch.

    The forms of a network were timed in turn; all networks were timed on the same machine. A
    sentence below gives the times of the first network, by which the others are divided.
    """
    first = compared[0].forms["torch"].milliseconds
    rows = tables.table(HEAD, [
        [f"{f.paper} `{f.name}`", LABELS[form], f"{m.bytes / 1000:,.0f}",
         f"{m.error:.2f}", f"{100 * m.same:.2f}", f"{m.furthest:.2g}" if m.furthest else "0",
         *(ratio(m.milliseconds[n] / first[n]) for n in first)]
        for f in compared for form, m in f.forms.items()])
    return (f"{rows}\n\nThe first row's times, by which all are divided, were {first['1']:.2g} ms "
            f"an image one at a time and {first['256']:.2g} ms 256 at a time, on one core of "
            f"{compared[0].made.hardware.cpu}.")
