"""A trained network's confidence, its calibration, and its uncertainty on unfamiliar images.

If units or weights are random in training, networks can also be sampled and their probabilities
averaged; this is compared with the single network that is shipped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor

from common.evidence import tables
from common.evidence.provenance import origin, say_uncommitted
from common.files import ROOT, shown, write_atomic
from common.running import ready
from common.segments import Origin
from common.training.certainty import calibration_error, nll, uncertainty
from common.training.recipe import Supervised
from common.training.sums import fraction
from common.typed import Model, read_json

SAMPLES = 20
"""Number of sampled networks."""

FOLDER = Path("exports/sure")
"""The folder of the measurements, below a paper's folder."""

WAYS = {"one": "one network", "drawn": f"{SAMPLES} drawn, averaged"}
"""The names in the table of the two ways to compute probabilities."""

HEAD = ["network", "probabilities of", "test error, %", "mean confidence, %",
        "calibration error, %", "−log p of the right class, nats", "entropy, nats",
        "entropy when turned by 90°, nats"]


class Way(Model):
    """The measurements of probabilities computed in one way; :data:`HEAD` names them.

    Attributes:
        error: test error in %.
        confidence: mean probability of the predicted class.
        ece: expected calibration error with 15 bins.
        nll, entropy: mean over images, in nats.
        turned: the entropy on the images rotated by 90°.
    """

    error: float
    confidence: float
    ece: float
    nll: float
    entropy: float
    turned: float


class Ways(Model):
    """The single network, and the average of sampled networks where these can be drawn."""

    one: Way
    drawn: Way | None = None


class Measured(Model):
    """The measurements of a network's probabilities, as stored in ``exports/sure/``.

    Attributes:
        images: number of test images.
        samples: number of sampled networks, where these can be drawn.
        made: the provenance.
    """

    name: str
    paper: str
    data: str
    images: int = Field(gt=0)
    samples: int = Field(gt=0)
    made: Origin
    ways: Ways


@runtime_checkable
class Drawing(Protocol):
    """A recipe from which networks can be sampled."""

    def probabilities(self, x: Tensor, samples: int) -> Tensor:
        """Class probabilities, (samples, n, classes); for 0 the one network's, (1, n, classes)."""


def probabilities(recipe: Supervised, x: Tensor, samples: int) -> Tensor:
    """Class probabilities, (samples, n, classes); (1, n, classes) if none can be sampled."""
    if isinstance(recipe, Drawing):
        return recipe.probabilities(x, samples)
    return torch.softmax(recipe.predict(x), 1)[None]


@torch.no_grad()
def measure(source: str) -> Measured:
    """Measure a network's probabilities on all test images.

    Args:
        source: see :func:`common.running.ready.load_ready`.
    """
    paper, name, recipe = ready.trained(source)
    test = recipe.data.test
    labels = test.labels
    x, turned = recipe.prepare(test.images), recipe.prepare(torch.rot90(test.images, 1, (2, 3)))
    ways = {}
    for way, samples in (("one", 0), ("drawn", SAMPLES)):
        torch.manual_seed(0)
        p = probabilities(recipe, x, samples)
        if way == "drawn" and len(p) == 1:
            continue
        far = probabilities(recipe, turned, samples)
        mean = p.mean(0)
        ways[way] = {"error": 100 * fraction(mean.argmax(1) != labels),
                     "confidence": mean.amax(1).mean().item(),
                     "ece": calibration_error(mean, labels), "nll": nll(mean, labels),
                     "entropy": uncertainty(p)["total"].mean().item(),
                     "turned": uncertainty(far)["total"].mean().item()}
    return Measured.model_validate({
        "name": name, "paper": paper, "data": recipe.data.name, "images": len(labels),
        "samples": SAMPLES, "made": origin(torch.device("cpu")), "ways": ways})


def table(measured: Sequence[Measured]) -> str:
    """A Markdown table of networks."""
    return tables.table(HEAD, [
        [f"{f.paper} `{f.name}`", WAYS[way], f"{m.error:.2f}", f"{100 * m.confidence:.2f}",
         f"{100 * m.ece:.2f}", f"{m.nll:.4f}", f"{m.entropy:.3f}", f"{m.turned:.3f}"]
        for f in measured for way, m in (("one", f.ways.one), ("drawn", f.ways.drawn))
        if m is not None])


def keep(measured: Measured) -> Path:
    """Write measurements into the paper's folder, for papers/STUDY.md."""
    say_uncommitted()
    path = ROOT / "papers" / measured.paper / FOLDER / f"{measured.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(measured.written(), indent=1, ensure_ascii=False) + "\n")
    return path


def recorded() -> list[Measured]:
    """Read all stored measurements, by data set and the single network's calibration error.

    Raises:
        UserError: a file is damaged.
    """
    measured = [read_json(Measured, p) for p in sorted(ROOT.glob(f"papers/*/{FOLDER}/*.json"))]
    return sorted(measured, key=lambda f: (f.data, f.ways.one.ece))


def main(source: str, record: bool) -> int:
    """Print the table of a network, and store the measurements if ``record`` is set."""
    measured = measure(source)
    print(table([measured]))
    if record:
        print(f"kept: {shown(keep(measured))}")
    return 0
