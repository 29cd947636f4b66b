"""Training of small networks that records the path of the weights, and the loss around them."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from common.data import Split, generator
from common.errors import UserError
from common.files import write_atomic
from common.training.descent import sgd
from common.training.recipe import Supervised
from common.training.schedules import divided
from common.training.weight_files import RecordedRun
from papers.loss_landscape.model import (
    Normalisation,
    Weights,
    flat,
    grid,
    moved,
    normalised,
    principal_directions,
    random_direction,
    shaped,
    share_in_plane,
)
from papers.loss_landscape.networks import build
from papers.loss_landscape.settings import Config
from papers.loss_landscape.surfaces import chosen, loss_and_accuracy

MARGIN = 0.15
"""The margin of a path's picture, as a fraction of the path's extent."""


class TrainRecipe(Supervised):
    """SGD that records the weights at every evaluation as a path."""

    state_names = (*Supervised.state_names, "path")
    config: Config

    def measure(self, train: Split) -> None:
        """Choose the images on which losses are evaluated."""
        part = chosen(train, self.config.view.images)
        self.view_inputs = self.prepare(part.images).to(self.device)
        self.view_labels = part.labels.to(self.device)

    def build(self) -> None:
        c = self.config
        self.model = build(c.model, self.inputs.shape[1:], self.data.classes,
                           generator(c.seed, "init")).to(self.device)
        self.optimizer = sgd(self.model.parameters(), self.device, lr=c.optim.lr,
                             momentum=c.optim.momentum, weight_decay=c.optim.weight_decay)
        rows = 1 + -(-c.train.steps // c.train.eval_every)
        first = flat(self.weights)
        self.path = torch.zeros(rows, len(first), device=self.device)
        self.path[0] = first

    def batchable(self) -> None:
        raise UserError("train.vectorize=true: the path of a single network is kept; leave the "
                        "key out")

    @property
    def weights(self) -> Weights:
        """The parameters θ, detached."""
        return {name: p.detach() for name, p in self.model.named_parameters()}

    def rates(self, step: int) -> dict[str, float]:
        """The initial rate, divided by 10 at the milestones."""
        return {"lr": divided(self.config.optim.lr, self.config.optim.milestones, step)}

    def at(self, θ: Weights) -> list[float]:
        """Loss and accuracy of weights θ on the chosen training images."""
        training = self.model.training
        found = loss_and_accuracy(self.model, θ, self.view_inputs, self.view_labels).tolist()
        self.model.train(training)
        return found

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``error`` on the evaluation split in %, and ``weight``, the root mean square of θ.

        After the last step also ``loss`` and ``train_error`` on the chosen training images, and the
        metrics of :meth:`shares`, :meth:`lines` and :meth:`straight_line`.
        """
        self.path[-(-step // self.config.train.eval_every)] = flat(self.weights)
        weight = flat({n: w for n, w in self.weights.items() if w.dim() > 1})
        metrics = {"error": 100 * (1 - self.accuracy(self.eval_inputs, self.eval_labels)),
                   "weight": weight.square().mean().sqrt().item()}
        if not final:
            return metrics
        loss, accuracy = self.at(self.weights)
        metrics |= {"loss": loss, "train_error": 100 * (1 - accuracy)}
        return metrics | self.shares() | self.lines(loss) | self.straight_line()

    def shares(self) -> dict[str, float]:
        """The fractions of the path's variation in some directions, in %.

        ``pca_1``: in the first principal direction; ``pca_2``: in two principal directions;
        ``random_2``: in two random ones.
        """
        _, shares = principal_directions(self.path)
        plane = torch.stack([flat(self.direction(k, "filter")) for k in (0, 1)])
        return {"pca_1": 100 * shares[0].item(), "pca_2": 100 * shares[:2].sum().item(),
                "random_2": 100 * share_in_plane(self.path, plane)}

    def direction(self, number: int, how: Normalisation) -> Weights:
        """A random direction; it has the same random numbers for every normalisation."""
        draw = self.generator("direction", number)
        return normalised(random_direction(self.weights, draw), self.weights, how)

    def lines(self, centre: float) -> dict[str, float]:
        """The loss along random lines through the weights, with and without normalisation.

        ``rise_<how>``: mean loss half way to the edge, over all directions and both ways, minus the
        loss at the weights; ``spread_<how>``: its standard deviation over directions, divided by
        its mean. ``<how>_loss_<k>``, ``<how>_accuracy_<k>``: along the first direction. The edge is
        at 1 with normalisation, at ``view.distance`` without.

        Args:
            centre: the loss at the weights.
        """
        v, metrics = self.config.view, dict[str, float]()
        ways: list[tuple[Normalisation, float]] = [("filter", 1.0), ("none", v.distance)]
        for how, reach in ways:
            rises = []
            for k in range(v.directions):
                d = self.direction(k, how)
                both = [self.at(moved(self.weights, [s * reach / 2], [d]))[0] for s in (-1, 1)]
                rises.append(sum(both) / 2 - centre)
            found = torch.tensor(rises, dtype=torch.float64)
            metrics |= {f"rise_{how}": found.mean().item(),
                        f"spread_{how}": (found.std() / found.mean()).item()}
            d = self.direction(0, how)
            for k, α in enumerate(grid(v.points, reach).tolist()):
                both = self.at(moved(self.weights, [α], [d]))
                metrics |= {f"{how}_loss_{k}": both[0], f"{how}_accuracy_{k}": both[1]}
        return metrics

    def straight_line(self) -> dict[str, float]:
        """Goodfellow et al.: the loss of (1 − α) θ_0 + α θ_n, ``line_loss_<k>`` at α = 0 … 1.

        ``line_rise``: the sum of all rises from point to point, in % of the fall from the first to
        the last point. Empty with batch normalisation, whose statistics are not defined at points
        in between.
        """
        if self.config.model.bn:
            return {}
        first, like = self.path[0], self.weights
        way = shaped(flat(like) - first, like)
        points = 2 * self.config.view.points + 1
        found = [self.at(moved(shaped(first, like), [k / (points - 1)], [way]))
                 for k in range(points)]
        L = torch.tensor([loss for loss, _ in found], dtype=torch.float64)
        return {"line_rise": 100 * (L.diff().clamp(min=0).sum() / (L[0] - L[-1])).item(),
                **{f"line_loss_{k}": loss for k, (loss, _) in enumerate(found)},
                **{f"line_accuracy_{k}": accuracy for k, (_, accuracy) in enumerate(found)}}

    def publish(self, paper_folder: Path, run: RecordedRun) -> None:
        """Write the path of seed 0 in its principal plane, and the loss there."""
        if self.config.seed:
            return
        path = paper_folder / "results" / self.config.experiment / "path0.safetensors"
        tensors = {k: v.float().contiguous() for k, v in self.picture().items()}
        write_atomic(path, lambda p: save_file(tensors, p))

    def picture(self) -> dict[str, Tensor]:
        """The loss on the path's principal plane.

        Returns:
            ``path`` (n + 1, 2): coordinates of the path's points relative to the last one; ``x``,
            ``y`` (points,): the grid; ``loss`` (points, points), rows along x; ``shares`` (2,):
            fractions of variation of the two directions.
        """
        plane, shares = principal_directions(self.path)
        at = (self.path - self.path[-1]).double().cpu() @ plane.T
        low, high = at.amin(0), at.amax(0)
        low, high = low - MARGIN * (high - low), high + MARGIN * (high - low)
        x, y = (torch.linspace(*ends, self.config.view.points, dtype=torch.float64)
                for ends in zip(low.tolist(), high.tolist(), strict=True))
        directions = [shaped(row.float().to(self.device), self.weights) for row in plane]
        loss = torch.tensor([[self.at(moved(self.weights, [a, b], directions))[0]
                              for b in y.tolist()] for a in x.tolist()])
        return {"path": at, "x": x, "y": y, "loss": loss, "shares": shares[:2]}
