"""The trained network as a file: writing it, and loading it with one line.

A file holds a network's state dict (``layers.0.weight``, …) in float16, half of the bytes; its
metadata say what the network is. Beside it lie a JSON file, which says in full which run made it,
and a card.
"""

from __future__ import annotations

import copy
from pathlib import Path

from pydantic import Field
from safetensors.torch import save_file

from common.errors import UserError
from common.evidence import card as cards
from common.files import shown, write_atomic
from common.training import start, weight_files
from papers.dropout.model import ACTIVATIONS, NOISES, Autoencoder, Network

TEST_IMAGES = 10_000
"""How many images of MNIST the network is evaluated on."""


def rounded(network: Network) -> Network:
    """A copy of a network with its weights rounded to float16, as a file holds them."""
    return copy.deepcopy(network).half().float()


class Sidecar(weight_files.Sidecar):
    """What lies as JSON beside our weights.

    Attributes:
        error, error_float32: test error in %, of the :func:`rounded` network and of the network
            as it was trained.
    """

    error: float = Field(ge=0, le=100)
    error_float32: float = Field(ge=0, le=100)


def save(path: Path, network: Network, sidecar: Sidecar) -> None:
    """Write a network, ``sidecar`` as JSON beside it, and a card.

    Args:
        path: ends in ``.safetensors``; the other two files have the same name.
        network: to be written.
        sidecar: which run made it, and how good it is.

    Raises:
        UserError: the files cannot be written.
    """
    model = sidecar.config["model"]
    about = {k: str(model[k]) for k in ("activation", "noise", "p_input", "p_hidden")} | {
        "metric": f"test error {sidecar.error:.2f} %"}
    tensors = {k: v.half() for k, v in network.state_dict().items()}
    weight_files.save(path, tensors, about, sidecar, card(path.stem, network, sidecar))


def save_features(path: Path, network: Autoencoder) -> None:
    """Write the features of Fig. 7, the weights into every hidden unit, as float16.

    Raises:
        UserError: the file cannot be written.
    """
    features = {"features": network.encoder.weight.detach().cpu().half().contiguous()}
    write_atomic(path, lambda p: save_file(features, p))


def card(name: str, network: Network, sidecar: Sidecar) -> str:
    """What a reader has to know about a file of weights."""
    widths = [l.in_features for l in network.layers] + [network.layers[-1].out_features]
    file = f"papers/dropout/weights/{name}.safetensors"
    return cards.card(name, [
        f"A network of {'-'.join(map(str, widths))} units trained with dropout and max-norm as by "
        "Srivastava et al. (2014),",
        f"on {sidecar.data} by this repository's experiment `{sidecar.experiment}`, seed "
        f"{sidecar.seed},", f"at commit `{sidecar.commits[-1]}`."],
        cards.Evaluation(sidecar.data, sidecar.error, TEST_IMAGES),
        f'from papers.dropout.weights import load\n\nnetwork = load("{file}")',
        f"python papers/dropout/train.py experiment={sidecar.experiment} "
        f"seed={sidecar.seed}",
        ["The weights are float16, half of the bytes; `load` makes them float32. In float32 the "
         f"run ended\n  at {sidecar.error_float32:.2f} %.",
         "Input: images (n, 784), pixels in 0 … 1; output: logits, by weight scaling: units times "
         "p. Sampled\n  networks instead: `papers.dropout.model.sampled_probabilities`.",
         "How sure it is, beside a posterior over weights: *which network for which constraint* in "
         "papers/STUDY.md.",
         f"`{name}.json` holds the whole configuration. As ONNX:\n  `papers export {file}`."])


def load(path: Path | str) -> Network:
    """The network of a file that :func:`save` wrote, in evaluation mode.

    Shapes: pixels in 0 … 1 (n, inputs) to logits (n, classes).

    Raises:
        UserError: the file is missing, damaged, or holds no such network.
    """
    path = Path(path)
    tensors, about = weight_files.read(path)
    shapes = [w.shape for name, w in sorted(tensors.items()) if name.endswith(".weight")]
    try:
        if about["activation"] not in ACTIVATIONS or about["noise"] not in NOISES:
            raise KeyError("activation and noise")
        network = Network(shapes[0][1], [s[0] for s in shapes[:-1]], shapes[-1][0],
                          about["activation"], about["noise"],  # type: ignore[arg-type]
                          float(about["p_input"]), float(about["p_hidden"]))
        start.fit(network, tensors)
    except (KeyError, IndexError, ValueError, UserError) as e:
        raise UserError(f"{shown(path)}: expected a network that papers/dropout published: "
                        f"{e}") from e
    return network.eval()
