"""Writing a posterior to a file, and loading it in one line.

A file contains μ and ρ of every weight in each layer (``0.μ``, ``0.ρ``, …; biases in the last
column), in float32; the standard deviations are σ = log(1 + exp ρ). The metadata describe the
prior. Beside the file are a JSON file, which describes the run that made it, and a card.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import Field

from common.errors import UserError
from common.evidence import card as cards
from common.files import shown
from common.training import start, weight_files
from common.typed import Model, checked, parse_json
from papers.bayes_by_backprop.model import Network
from papers.bayes_by_backprop.settings import PriorConfig, make_prior

TEST_IMAGES = 10_000
"""Of MNIST, on which the posterior is evaluated."""


class Written(Model):
    """The prior in a file's metadata: all keys of :class:`PriorConfig`, without defaults."""

    kind: Literal["gaussian", "mixture"]
    std: float = Field(gt=0)
    pi: float = Field(gt=0, lt=1)
    minus_log_sigma1: float
    minus_log_sigma2: float
    clamped: bool


class Sidecar(weight_files.Sidecar):
    """The JSON file beside a posterior.

    Attributes:
        samples: how many sampled networks are averaged.
        error, ensemble_error: test error in % of the mean weights, and of the average.
        nll, ece: negative log-likelihood and expected calibration error of the average.
    """

    samples: int = Field(gt=0)
    error: float = Field(ge=0, le=100)
    ensemble_error: float = Field(ge=0, le=100)
    nll: float
    ece: float


def save(path: Path, network: Network, prior: PriorConfig, sidecar: Sidecar) -> None:
    """Write a posterior and, beside it, ``sidecar`` as JSON and a card.

    Args:
        path: must end in ``.safetensors``; the other files take its name.
        network: the network to write.
        prior: the prior it was trained with.
        sidecar: the run that made it, and its measurements.

    Raises:
        UserError: the files cannot be written.
    """
    about = {"prior": json.dumps(asdict(prior)), "metric": f"test error {sidecar.error:.2f} %"}
    weight_files.save(path, network.state_dict(), about, sidecar, card(path.stem, network, sidecar))


def card(name: str, network: Network, sidecar: Sidecar) -> str:
    """The text of the model card of a file of weights."""
    weights = sum(l.μ.numel() for l in network.bayesian)
    file = f"papers/bayes_by_backprop/weights/{name}.safetensors"
    return cards.card(name, [
        f"A Gaussian posterior over each of the {weights:,} weights of a network for "
        f"{sidecar.data}, by Bayes by Backprop (Blundell et al., 2015),",
        f"trained by this repository's experiment `{sidecar.experiment}`, seed "
        f"{sidecar.seed},", f"at commit `{sidecar.commits[-1]}`."],
        cards.Evaluation(sidecar.data, sidecar.error, TEST_IMAGES),
        "from papers.bayes_by_backprop.model import predict\n"
        "from papers.bayes_by_backprop.weights import load\n\n"
        f'network = load("{file}")\n'
        "p = predict(network, images, 20).mean(0)  # 20 networks drawn, their average",
        f"python papers/bayes_by_backprop/train.py experiment={sidecar.experiment} "
        f"seed={sidecar.seed}",
        ["That error is of the mean weights. The average of "
         f"{sidecar.samples} sampled networks had {sidecar.ensemble_error:.2f} %, with an "
         f"expected\n  calibration error of {100 * sidecar.ece:.2f} %.",
         "The file holds μ and ρ of every weight, the standard deviation being σ = log(1 + exp ρ); "
         "`load` returns\n  a network whose layers have `μ` and `σ`.",
         "Input: images (n, 784), pixels of 0 … 255 divided by 126; output of `predict`: class "
         "probabilities\n  (samples, n, 10), of the mean weights with 0 samples.",
         "How sure it is, beside dropout: *which network for which constraint* in papers/STUDY.md.",
         f"`{name}.json` holds the whole configuration. As ONNX, the network of the mean weights:\n"
         f"  `papers export {file}`."])


def load(path: Path | str) -> Network:
    """Load the posterior from a file that :func:`save` wrote.

    Shapes: pixels divided by 126, (n, inputs) → logits (n, classes), with weights sampled in each
    call; see :func:`papers.bayes_by_backprop.model.predict` for probabilities.

    Raises:
        UserError: the file is missing or damaged, or does not contain such a posterior.
    """
    path = Path(path)
    tensors, about = weight_files.read(path)
    shapes = [v.shape for name, v in sorted(tensors.items()) if name.endswith(".μ")]
    try:
        given = checked(Written, parse_json(about["prior"]), "prior")
        prior = make_prior(PriorConfig(**given.model_dump()))
        network = Network([shapes[0][1] - 1, *(s[0] for s in shapes)], prior)
        start.fit(network, tensors)
    except (KeyError, IndexError, TypeError, ValueError, UserError) as e:
        raise UserError(f"{shown(path)}: expected a posterior that papers/bayes_by_backprop "
                        f"published: {e}") from e
    return network
