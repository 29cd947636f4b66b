"""Lines, planes and maps of curvature through given weights: a step evaluates one point."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import reduce
from safetensors.torch import save_file
from torch import Tensor, nn

from common import data
from common.config import start_of
from common.data import Split, generator
from common.errors import UserError
from common.files import write_atomic
from common.training import start
from common.training.recipe import Recipe
from common.training.sums import wide
from common.training.weight_files import RecordedRun
from papers.loss_landscape.model import (
    Weights,
    flat,
    grid,
    hessian_product,
    hessian_products,
    lanczos,
    moved,
    normalised,
    random_direction,
    reduced_curvatures,
    shaped,
)
from papers.loss_landscape.networks import build, of_paper, own_preparation, says_otherwise
from papers.loss_landscape.settings import Config

CHUNK, DEVICE_CHUNK = 250, 5000
"""Images evaluated at a time, on a CPU and on other devices."""

HIGH = 1e6
"""Losses that are higher or not finite are replaced by this value."""

LOW = 4
"""The paper says that attractors are convex below this loss (section 5, p. 8)."""


def chosen(train: Split, images: int) -> Split:
    """The training images on which losses are evaluated: the same for every seed, not augmented.

    Raises:
        UserError: there are fewer training images.
    """
    if images > len(train):
        raise UserError(f"view.images={images}: expected at most the {len(train)} training images")
    return train[torch.randperm(len(train), generator=generator(0, "view"))[:images]]


def loss_and_accuracy(network: nn.Module, θ: Weights, x: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy and fraction correct of a network with other weights, (2,).

    In evaluation mode, so batch normalisation uses the statistics of the network's own weights.

    Args:
        network: the network; its weights are not changed.
        θ: the weights to use, one tensor for each parameter.
        x, y: inputs and labels.
    """
    network.eval()
    size = CHUNK if x.device.type == "cpu" else DEVICE_CHUNK
    sums = wide(torch.zeros(2, device=x.device))
    with torch.no_grad():
        for part, labels in zip(x.split(size), y.split(size), strict=True):
            logits = torch.func.functional_call(network, θ, (part,))
            sums += torch.stack([wide(F.cross_entropy(logits, labels, reduction="sum")),
                                 wide((logits.argmax(1) == labels).sum())])
    found = sums / len(x)
    return torch.nan_to_num(found, nan=HIGH, posinf=HIGH).clamp(max=HIGH)


class ViewRecipe(Recipe):
    """The base class of lines, planes and maps: weights, images, directions and a table.

    ``table`` holds two numbers for every point, ordered by α and then by β.
    """

    state_names = ("model", "mean", "table")
    config: Config
    columns: tuple[str, str]

    def load_data(self) -> None:
        """Load the data set, and choose the images on which losses are evaluated."""
        self.data = data.load(self.config.data.name)
        if self.data.train.images.dim() != 4:
            raise UserError(f"data.name={self.config.data.name}: expected a data set of images")
        part = chosen(self.data.train, self.config.view.images)
        self.pixels, self.labels = part.images.to(self.device), part.labels.to(self.device)

    def build(self) -> None:
        c = self.config
        images, prepare = self.data.train.images, None
        if c.model.kind == "paper":
            self.model, prepare = of_paper(c.model.of, c.data.name, c.seed)
        else:
            self.model = build(c.model, images.shape[1:], self.data.classes,
                               generator(c.seed, "init"))
        if c.model.kind == "own":
            prepare = own_preparation(c.model.own)
        self.prepared = None if prepare is None else prepare(self.pixels.cpu()).to(self.device)
        self.model.to(self.device)
        self.mean = torch.zeros(images.shape[1:], device=self.device)
        if c.model.kind == "resnet":
            self.mean = (reduce(images.float(), "n c h w -> c h w", "mean") / 255).to(self.device)
        self.table = torch.zeros(c.train.steps, 2, dtype=torch.float64)
        self._directions: list[Weights] | None = None

    def start_with(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Load the weights, and the mean image used in training if the file contains it.

        If other code prepares the images, that code also subtracts the mean.
        """
        if self.prepared is not None:
            return start.fit(self.model, weights)
        if self.config.model.kind == "resnet":
            says_otherwise(self.config.model, start_of(self.config))
        taken, self.mean = start.fit_with_mean(self.model, self.mean, weights)
        return taken

    @property
    def inputs(self) -> Tensor:
        """The chosen images as the network's inputs: pixels in 0 … 1 minus the mean.

        For another paper's or the user's own network, its own preparation is used.
        """
        return self.pixels.float() / 255 - self.mean if self.prepared is None else self.prepared

    @property
    def weights(self) -> Weights:
        """The parameters θ, detached."""
        return {name: p.detach() for name, p in self.model.named_parameters()}

    @property
    def dimensions(self) -> int:
        return 2

    def directions(self) -> list[Weights]:
        """The directions δ and η, normalised; they depend on the seed and the weights only."""
        if self._directions is None:
            θ, v = self.weights, self.config.view
            self._directions = [normalised(random_direction(θ, self.generator("direction", k)), θ,
                                           v.normalise) for k in range(self.dimensions)]
        return self._directions

    def coordinates(self, number: int) -> list[float]:
        """(α, β) of a point, or (α,)."""
        v = self.config.view
        at = grid(v.points, v.reach).tolist()
        places = divmod(number, v.points) if self.dimensions == 2 else (number,)
        return [at[k] for k in places]

    def point(self, number: int) -> Weights:
        """The weights at a point."""
        return moved(self.weights, self.coordinates(number), self.directions())

    @property
    def centre(self) -> int:
        """The number of the point at the weights themselves."""
        return self.config.train.steps // 2

    def on_grid(self, column: int) -> Tensor:
        """A column of the table as (points,) or (points, points)."""
        return self.table[:, column].reshape([self.config.view.points] * self.dimensions)

    def publish(self, paper_folder: Path, run: RecordedRun) -> None:
        """Write the values on a plane beside the result, in single precision."""
        if self.dimensions == 1:  # the values are metrics already
            return
        path = paper_folder / "results" / self.config.experiment / (
            f"{self.config.task.name}{self.config.seed}.safetensors")
        tensors = {name: self.on_grid(k).float().contiguous()
                   for k, name in enumerate(self.columns)}
        v = self.config.view
        tensors["coordinates"] = grid(v.points, v.reach).float()
        write_atomic(path, lambda p: save_file(tensors, p))


class SurfaceRecipe(ViewRecipe):
    """Loss and accuracy on a line or a plane."""

    columns, loss_name = ("loss", "accuracy"), "loss at a point"

    @property
    def dimensions(self) -> int:
        return self.config.view.dimensions

    def step(self, number: int) -> Tensor:
        """Evaluate one point; returns its loss."""
        found = loss_and_accuracy(self.model, self.point(number), self.inputs, self.labels)
        self.table[number] = found.cpu().double()
        return self.table[number, 0].float()

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``highest``: the highest loss so far. After the last step also:

        ``centre``: the loss at the weights; ``accuracy``: the accuracy there, in %; ``rise``: the
        mean loss half way to the edge, over all axes and both ways, minus ``centre``. On a line
        also ``loss_<k>`` and ``accuracy_<k>`` of all points. On a plane also ``below_0.1``: % of
        points with a loss below 0.1; ``nonconvex``: % of inner points whose smaller principal
        curvature in the plane is negative and in size more than 1 % of the larger;
        ``nonconvex_low``: the same among points with a loss below 4, if there are any.

        Raises:
            UserError: the loss at the weights themselves is not finite.
        """
        metrics = {"highest": self.table[:, 0].max().item()}
        if not final:
            return metrics
        f, v = self.on_grid(0), self.config.view
        middle, half = v.points // 2, max(v.points // 4, 1)
        ends = [f[middle + s * half] if f.dim() == 1 else f[
            (middle + s * half, middle) if axis == 0 else (middle, middle + s * half)]
            for axis in range(f.dim()) for s in (-1, 1)]
        centre = f.flatten()[self.centre].item()
        if centre >= HIGH:
            raise UserError(f"start_from={self.config.start_from}: the loss at these weights is "
                            f"above {HIGH:g} or not finite; expected a trained network's")
        metrics |= {"centre": centre, "accuracy": 100 * self.table[self.centre, 1].item(),
                    "rise": torch.stack(ends).mean().item() - centre}
        if f.dim() == 1:
            return metrics | {f"{name}_{k}": value for j, name in enumerate(self.columns)
                              for k, value in enumerate(self.on_grid(j).tolist())}
        λ = reduced_curvatures(f, 2 * v.reach / (v.points - 1))
        negative = λ[..., 0] < -0.01 * λ.abs().amax(-1)
        low = f[1:-1, 1:-1] < LOW
        metrics |= {"below_0.1": 100 * (f < 0.1).double().mean().item(),
                    "nonconvex": 100 * negative.double().mean().item()}
        if low.any():
            metrics["nonconvex_low"] = 100 * negative[low].double().mean().item()
        return metrics


class CurvatureRecipe(ViewRecipe):
    """The Hessian's smallest and largest eigenvalue on a plane, by the Lanczos method."""

    columns, loss_name = ("smallest", "largest"), "|λ_min/λ_max| at a point"

    def step(self, number: int) -> Tensor:
        """Compute both eigenvalues at one point; returns |λ_min/λ_max|.

        Raises:
            UserError: a product with the Hessian is not finite there.
        """
        self.model.eval()
        θ = self.point(number)
        draw = self.generator("lanczos", number)
        first = torch.randn(sum(w.numel() for w in θ.values()), generator=draw).to(self.device)
        try:
            found = lanczos(self.product(θ), first, self.config.view.iterations)
        except ValueError as e:
            raise UserError(f"view.reach={self.config.view.reach:g}: {e} at the point "
                            f"{self.coordinates(number)}; expected a smaller reach, or weights "
                            "whose loss is finite") from e
        self.table[number] = torch.tensor(found, dtype=torch.float64)
        return self.ratios()[number].float()

    def product(self, θ: Weights) -> Callable[[Tensor], Tensor]:
        """The function v ↦ H v for the loss at θ.

        Other papers' networks may have layers that are twice differentiable only under torch.func.
        """
        def loss(weights: Weights) -> Tensor:
            return F.cross_entropy(torch.func.functional_call(
                self.model, weights, (self.inputs,)), self.labels)

        if self.config.model.kind in ("paper", "own"):
            return hessian_products(lambda row: loss(shaped(row, θ)), flat(θ))
        θ = {name: w.clone().requires_grad_() for name, w in θ.items()}
        return hessian_product(loss(θ), list(θ.values()))

    def ratios(self) -> Tensor:
        """|λ_min/λ_max| of all points; 0 at points without curvature or negative λ_min."""
        smallest, largest = self.table.unbind(1)
        return torch.nan_to_num(smallest.clamp(max=0).abs() / largest.abs(), nan=0.0, posinf=HIGH
                                ).clamp(max=HIGH)

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``ratio``: the median of :meth:`ratios` over the points so far.

        After the last step also ``below_0.01`` and ``below_0.1``: % of points with a smaller ratio;
        ``centre_ratio``, ``centre_smallest`` and ``centre_largest``: the values at the weights.
        """
        ratios = self.ratios()[:max(step, 1)]
        metrics = {"ratio": ratios.median().item()}
        if final:
            smallest, largest = self.table[self.centre].tolist()
            metrics |= {f"below_{limit}": 100 * (ratios < limit).double().mean().item()
                        for limit in (0.01, 0.1)}
            metrics |= {"centre_ratio": self.ratios()[self.centre].item(),
                        "centre_smallest": smallest, "centre_largest": largest}
        return {k: v if math.isfinite(v) else HIGH for k, v in metrics.items()}


