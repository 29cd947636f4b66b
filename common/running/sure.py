"""How sure a shipped network is, how right it is to be, and what it says of unfamiliar images.

Where units or weights are random in training, networks can be drawn and their probabilities
averaged; that stands beside the one network that is shipped.
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
"""Networks that are drawn."""

FOLDER = Path("exports/sure")
"""In a paper's folder, where tables are kept."""

WAYS = {"one": "one network", "drawn": f"{SAMPLES} drawn, averaged"}
"""What the table calls them."""

HEAD = ["network", "probabilities of", "test error, %", "mean confidence, %",
        "calibration error, %", "−log p of the right class, nats", "entropy, nats",
        "entropy when turned by 90°, nats"]


class Way(Model):
    """What probabilities are worth that were found in one way; :data:`HEAD` says it in words.

    Attributes:
        error: %.
        confidence: mean probability of what is answered.
        ece: expected calibration error, 15 bins.
        nll, entropy: nats, mean over images.
        turned: the entropy on the images turned by 90°.
    """

    error: float
    confidence: float
    ece: float
    nll: float
    entropy: float
    turned: float


class Ways(Model):
    """The one network that is shipped, and where networks can be drawn the average of some."""

    one: Way
    drawn: Way | None = None


class Measured(Model):
    """What a network's probabilities are worth, as ``exports/sure/`` keeps it.

    Attributes:
        images: of the test split.
        samples: networks that are drawn, where they can be.
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
    """A recipe whose networks can be drawn."""

    def probabilities(self, x: Tensor, samples: int) -> Tensor:
        """Class probabilities (samples, n, classes); (1, n, classes) of the one network for 0."""


def probabilities(recipe: Supervised, x: Tensor, samples: int) -> Tensor:
    """Class probabilities (samples, n, classes); (1, n, classes) where there is one network."""
    if isinstance(recipe, Drawing):
        return recipe.probabilities(x, samples)
    return torch.softmax(recipe.predict(x), 1)[None]


@torch.no_grad()
def measure(source: str) -> Measured:
    """What a network's probabilities are worth on all test images.

    Args:
        source: see :func:`common.running.ready.read`.
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


def table(found: Sequence[Measured]) -> str:
    """Networks as a table in Markdown."""
    return tables.table(HEAD, [
        [f"{f.paper} `{f.name}`", WAYS[way], f"{m.error:.2f}", f"{100 * m.confidence:.2f}",
         f"{100 * m.ece:.2f}", f"{m.nll:.4f}", f"{m.entropy:.3f}", f"{m.turned:.3f}"]
        for f in found for way, m in (("one", f.ways.one), ("drawn", f.ways.drawn))
        if m is not None])


def keep(found: Measured) -> Path:
    """Write what :func:`measure` found into the paper's folder, for the page that shows it."""
    say_uncommitted()
    path = ROOT / "papers" / found.paper / FOLDER / f"{found.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(found.written(), indent=1, ensure_ascii=False) + "\n")
    return path


def kept() -> list[Measured]:
    """Everything that was kept, by data set and calibration error of the one network.

    Raises:
        UserError: a file is damaged.
    """
    found = [read_json(Measured, p) for p in sorted(ROOT.glob(f"papers/*/{FOLDER}/*.json"))]
    return sorted(found, key=lambda f: (f.data, f.ways.one.ece))


def main(source: str, record: bool) -> int:
    """Print the table of a network, and keep it where ``record`` says so."""
    found = measure(source)
    print(table([found]))
    if record:
        print(f"kept: {shown(keep(found))}")
    return 0
