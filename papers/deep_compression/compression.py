"""The three stages of Han et al.: train, prune and retrain, share weights and fine-tune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common.data import generator
from common.errors import UserError
from common.files import write_atomic
from common.training import start
from common.training.descent import sgd
from common.training.recipe import Supervised
from common.training.weight_files import RecordedRun
from papers.deep_compression.coding import (
    SUFFIX,
    SharedTensor,
    Tensors,
    decode,
    encode,
    read,
    storage,
)
from papers.deep_compression.model import (
    Dense,
    LeNet,
    Pruned,
    Shapes,
    Shared,
    above,
    lenet_5,
    lenet_300_100,
)
from papers.deep_compression.settings import Config
from papers.deep_compression.shipped import card, load


def for_each(name: str, values: Sequence[Any], shapes: Shapes) -> dict[str, Any]:
    """One value of a key for every layer; a single one counts for all.

    Raises:
        UserError: there are more or fewer.
    """
    values = list(values) * len(shapes) if len(values) == 1 else list(values)
    if len(values) != len(shapes):
        raise UserError(f"{name}={values}: expected one value, or one for each of the layers "
                        f"{', '.join(shapes)}")
    return dict(zip(shapes, values, strict=True))


class LeNetRecipe(Supervised):
    """What all tasks share: images divided by 256, as Caffe's, and the network's shapes."""

    config: Config
    model: LeNet

    def prepare(self, images: Tensor) -> Tensor:
        return images.float() / 256

    def shapes(self) -> Shapes:
        """Of the configured network on these images."""
        (channels, size, _), m = self.inputs.shape[1:], self.config.model
        if m.network == "lenet_5":
            return lenet_5(channels, size, self.data.classes)
        return lenet_300_100(channels * size**2, self.data.classes, m.hidden)

    def compiled(self) -> LeNet:
        """As it is: ``train.compile`` is not used by these papers."""
        return self.model

    def shipped(self) -> Dense:
        """Dense weights, zeros among them: no program that reads such files skips them."""
        return Dense(self.model.weights(), dict(self.model.b.items()))

    @torch.no_grad()
    def error(self) -> float:
        """In %, on the evaluation split."""
        return 100 * (1 - self.accuracy(self.eval_inputs, self.eval_labels))


class TrainRecipe(LeNetRecipe):
    """SGD with momentum and L2 on the mean cross-entropy, the rate by Caffe's policy "inv"."""

    def build(self) -> None:
        self.make_model()
        self.model.to(self.device)
        o = self.config.optim
        self.optimizer = sgd(self.model.parameters(), self.device, lr=o.lr, momentum=o.momentum,
                             weight_decay=o.weight_decay)

    def make_model(self) -> None:
        """Set ``model``."""
        self.model = Pruned(self.shapes(), "caffe", generator(self.config.seed, "init"))

    def rates(self, step: int) -> dict[str, float]:
        o = self.config.optim
        return {"lr": o.lr * (1 + o.gamma * step) ** -o.power}

    @torch.no_grad()
    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``error`` in %; finally also ``loss`` of the evaluation split and ``active_<layer>``, the
        fraction of its outputs there that are not zero.
        """
        metrics = {"error": self.error()}
        if final:
            metrics["loss"] = F.cross_entropy(
                self.predict(self.eval_inputs), self.eval_labels).item()
            metrics |= self.activity(self.eval_inputs)
        return metrics

    @torch.no_grad()
    def activity(self, x: Tensor) -> dict[str, float]:
        """``active_<layer>`` of some images, and of all layers' outputs ``active_total``."""
        ones, sizes = dict.fromkeys(self.model.shapes, 0.0), dict.fromkeys(self.model.shapes, 0)
        for part in x.split(self.chunk):
            for name, out in self.model.outputs(part):
                ones[name] += (out != 0).sum().item()
                sizes[name] += out.numel()
        return {f"active_{name}": ones[name] / sizes[name] for name in ones} | {
            "active_total": sum(ones.values()) / sum(sizes.values())}


class PruneRecipe(TrainRecipe):
    """Weights below the threshold go, and the others are trained on from where they are.

    It is done with the weights that are there at the start: those of the experiment it starts from.

    Attributes:
        cut: the error in % right after pruning.
    """

    state_names = (*TrainRecipe.state_names, "cut")
    model: Pruned

    def build(self) -> None:
        super().build()
        self.prune()

    def start_with(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        taken = super().start_with(weights)
        self.prune()
        return taken

    @torch.no_grad()
    def prune(self) -> None:
        """Apply each layer's threshold."""
        quality = for_each("prune.quality", self.config.prune.quality, self.model.shapes)
        self.model.take_masks({name: above(w, self.model.mask(name), quality[name])
                               for name, w in self.model.W.items()})
        self.cut = self.error()

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """Also ``error_cut``, before retraining, and finally ``kept_<layer>``, fractions."""
        metrics = super().evaluate(step, final) | {"error_cut": self.cut}
        if final:
            metrics |= {f"kept_{name}": v for name, v in self.model.kept().items()}
        return metrics


def shared_in(tensors: Tensors, layer: str) -> SharedTensor:
    """A layer's weights among a file's tensors.

    Raises:
        TypeError: they are not shared.
    """
    found = tensors[f"{layer}.weight"]
    if not isinstance(found, SharedTensor):
        raise TypeError(f"{layer}.weight: expected shared weights")
    return found


def shape_of(t: SharedTensor | np.ndarray) -> tuple[int, ...]:
    """The shape of a file's tensor; of a shared one with the number of its centroids at the end."""
    return (*t.codes.shape, len(t.centroids)) if isinstance(t, SharedTensor) else t.shape


class QuantiseRecipe(TrainRecipe):
    """Each layer's weights are shared by k-means; then centroids and biases are trained on.

    Attributes:
        shared: the error in % right after sharing.
    """

    state_names = (*TrainRecipe.state_names, "shared")
    suffix = SUFFIX
    model: Shared

    def make_model(self) -> None:
        shapes = self.shapes()
        bits = for_each("quantise.weight_bits", self.config.quantise.weight_bits, shapes)
        self.model = Shared(shapes, [2**b - 1 for b in bits.values()]).to(self.device)
        fresh = Pruned(shapes, "caffe", generator(self.config.seed, "init")).to(self.device)
        self.share(fresh)

    def start_with(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        pruned = Pruned(self.model.shapes, "caffe", torch.Generator()).to(self.device)
        taken = start.fit(pruned, weights)
        self.share(pruned)
        return taken

    @torch.no_grad()
    def share(self, pruned: Pruned) -> None:
        """Cluster a pruned network's weights."""
        self.model.share(dict(pruned.W.items()), {n: pruned.mask(n) for n in pruned.shapes},
                         dict(pruned.b.items()))
        self.shared = self.error()

    def tensors(self) -> Tensors:
        """The network as the file holds it: weights shared, biases as they are."""
        r = self.config.quantise.index_bits
        found: Tensors = {}
        for name, c in self.model.C.items():
            found[f"{name}.weight"] = SharedTensor(
                self.model.codes(name).cpu().numpy(), c.detach().cpu().numpy(), r)
            found[f"{name}.bias"] = self.model.b[name].detach().cpu().numpy()
        return found

    @torch.no_grad()
    def load(self, tensors: Tensors) -> None:
        """Take what a file holds."""
        for name, c in self.model.C.items():
            weight = shared_in(tensors, name)
            self.model.codes(name).copy_(torch.from_numpy(weight.codes))
            c.copy_(torch.from_numpy(weight.centroids))
            self.model.b[name].copy_(torch.from_numpy(tensors[f"{name}.bias"]))

    def load_coded(self, path: Path) -> None:
        """Take the weights of a ``.dcn`` file.

        Raises:
            UserError: it is damaged, or of another network.
        """
        load(path)  # refuses what is no network, or not finite
        tensors, own = read(path), self.tensors()
        if {n: shape_of(t) for n, t in tensors.items()} != {n: shape_of(t) for n, t in own.items()}:
            raise UserError(f"expected tensors {', '.join(own)} of this network's shapes")
        self.load(tensors)

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """Also ``error_shared``, before fine-tuning.

        Finally the network is written as a file's bytes and read back, and ``error`` is that of
        what was read: ``bytes`` of the file, ``factor``, how many times smaller than all
        parameters in 32 bits, ``read_back`` 1 if every bit came back, and of every layer and in
        ``total`` what :func:`~papers.deep_compression.coding.storage` measures,
        ``kept_<layer>`` and so on.
        """
        extra = {"error_shared": self.shared}
        if not final:
            return super().evaluate(step, final) | extra
        before = {k: v.clone() for k, v in self.model.state_dict().items()}
        data = encode(self.tensors())
        self.load(decode(data))
        same = all(torch.equal(v, before[k]) for k, v in self.model.state_dict().items())
        parameters = sum(p.numel() for n, p in before.items() if n[0] in "bI")
        extra |= {"bytes": float(len(data)), "factor": 4 * parameters / len(data),
                  "read_back": float(same)}
        return super().evaluate(step, final) | extra | self.stored()

    def stored(self) -> dict[str, float]:
        """The columns of Tables 2 and 3, by layer and in total; rates are fractions."""
        rows = {n: storage(shared_in(self.tensors(), n)) for n in self.model.shapes}
        sizes = {n: self.model.codes(n).numel() for n in rows}
        entries = {n: row["entries"] for n, row in rows.items()}
        weights: dict[str, Mapping[str, float]] = {
            "kept": sizes, "rate_pq": sizes, "rate_pqh": sizes, "weight_bits": entries,
            "index_bits": entries}
        total = {c: sum(rows[n][c] * by[n] for n in rows) / max(sum(by.values()), 1)
                 for c, by in weights.items()}
        total["entries"] = sum(entries.values())
        return {f"{c}_{n}": v for n, row in (rows | {"total": total}).items()
                for c, v in row.items()}

    def publish(self, paper_folder: Path, run: RecordedRun) -> None:
        """Leave the first seed's file beside its result, and a card."""
        if self.config.seed or self.config.data.evaluate_on != "test":
            return
        path = paper_folder / "results" / self.config.experiment / f"seed0{SUFFIX}"
        write_atomic(path, encode(self.tensors()))
        write_atomic(path.with_suffix(".md"), card(path, run))
