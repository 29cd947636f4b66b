"""Levenberg-Marquardt (Moré, 1978; Hagan & Menhaj, 1994): MINPACK's test runs, and small networks.

    python papers/levenberg_marquardt/train.py experiment=quick    # bundled digits, offline
    python papers/levenberg_marquardt/train.py experiment=minpack  # the 53 published runs
    python papers/levenberg_marquardt/train.py experiment=sine seed=0-9   # by all methods
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import scipy.optimize
import torch
import torch.nn.functional as F
from einops import rearrange
from sklearn.datasets import load_diabetes
from torch import Tensor, nn
from torch.func import jacfwd

from common import problems
from common.conditions import NEVER, Not
from common.config import Config as BaseConfig
from common.config import key
from common.data import DataSet, Split, generator
from common.decoded import of_tensors
from common.errors import UserError, exit_with
from common.evidence.claims import read_table
from common.running.cli import main
from common.training.recipe import Recipe, Supervised
from common.training.sums import fraction
from common.training.worklist import Worklist
from papers.levenberg_marquardt.model import Solution, damped, levenberg_marquardt
from papers.levenberg_marquardt.optim import LevenbergMarquardt

PUBLISHED = Path(__file__).with_name("published") / "minpack.csv"


DIGITS = {"task.name": "digits"}
NETWORKS = {"task.name": Not("minpack")}


@dataclass
class TaskConfig:
    name: Literal["minpack", "sine", "period", "sinc", "product", "diabetes", "digits"] = key(
        "minpack", "MINPACK's 53 runs, or what a network learns")
    goal: float = key(0.0, "a network is done when its mean square error is at most this", least=0,
                      only=NETWORKS)


@dataclass
class ModelConfig:
    hidden: int = key(15, "tanh units of the one hidden layer", least=1, only=NETWORKS)


@dataclass
class OptimConfig:
    method: Literal["more", "plain", "marquardt", "lm", "bfgs", "lbfgs", "adam", "sgd"] = key(
        "more", "for minpack more, plain (μI) or marquardt (μ diag JᵀJ); the others for networks")
    lr: float = key(0.01, "learning rate", least=0, only={"optim.method": ("adam", "sgd")})
    momentum: float = key(0.9, "momentum", least=0, below=1, only={"optim.method": "sgd"})
    damping: float = key(0.01, "the first μ", above=0,
                         only={"optim.method": ("plain", "marquardt", "lm")})
    rule: Literal["gain", "plain"] = key("gain", "Nielsen's rule, or Hagan & Menhaj's",
                                         only={"optim.method": "lm"})
    factor: float = key(10.0, "β of the plain rule", above=1,
                        only=({"optim.method": ("plain", "marquardt")}, {"optim.rule": "plain"}))
    solver: Literal["cholesky", "qr", "cg"] = key("cholesky", "how a step is solved for",
                                                  only={"optim.method": "lm"})


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {  # everything is float64
        "data.name": DIGITS, "data.evaluate_on": DIGITS, "train.batch_size": NEVER,
        "train.compile": NETWORKS, "train.precision": NEVER, "start_from": NETWORKS}
    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)


# ---- MINPACK's 53 runs ---------------------------------------------------------------------------

TOLERANCE = math.sqrt(float(np.finfo(float).eps))
"""ftol and xtol of the published runs."""


@dataclass(frozen=True)
class Run:
    """One published run: a problem in a size, started at ``factor`` times its published start."""

    problem: problems.Problem
    factor: float

    def F(self, x: np.ndarray) -> np.ndarray:
        """Residuals, (m)."""
        return self.problem.residuals(torch.from_numpy(x)).numpy()

    def J(self, x: np.ndarray) -> np.ndarray:
        """Their exact Jacobian, (m, n)."""
        return jacfwd(self.problem.residuals)(torch.from_numpy(x)).numpy()

    def solve(self, method: str, μ: float = 0.01, β: float = 10.0) -> Solution:
        """By Moré's algorithm with MINPACK's tolerances, or by plain damping."""
        x = self.problem.x(self.factor).numpy()
        if method == "more":
            return levenberg_marquardt(self.F, self.J, x, TOLERANCE, TOLERANCE)
        return damped(self.F, self.J, x, TOLERANCE, μ, β, scaled=method == "marquardt")


def minpack_runs() -> list[Run]:
    """The 53 published runs in their order."""
    sized = {"linear_full_rank": "nm", "linear_rank_1": "nm", "linear_rank_1_zeros": "nm",
             "chebyquad": "nm", "watson": "n", "brown_almost_linear": "n"}
    return [Run(problems.problem(row["problem"], **{
        k: int(row[k]) for k in sized.get(row["problem"], "")}), float(row["factor"]))
        for row in read_table(PUBLISHED)]


class MinpackRecipe(Worklist):
    """A step makes the next of MINPACK's runs, start to end.

    Metrics: ``evaluations`` so far; finally of each run k ``nfev_<k>``, ``njev_<k>``,
    ``info_<k>`` and ``norm_<k>``, as MINPACK names them.
    """

    config: Config
    columns = ("nfev", "njev", "info", "norm")
    collection = "moré, garbow & hillstrom"

    def listed(self) -> list[Run]:
        return minpack_runs()

    def start_of(self, job: Run) -> Tensor:
        return job.problem.x(job.factor)

    def build(self) -> None:
        super().build()
        method = self.config.optim.method
        if method not in ("more", "plain", "marquardt"):
            raise UserError(f"optim.method={method}: expected more, plain or marquardt for "
                            "task.name=minpack")

    def do(self, job: Run) -> list[float]:
        o = self.config.optim
        s = job.solve(o.method, o.damping, o.factor)
        # LMDER1, which the published runs called, reports 8 as 4
        return [s.evaluations, s.jacobians, 4 if s.info == 8 else s.info, s.norm]

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        evaluations = self.model.values[:, 0].sum().item()
        return {"evaluations": evaluations} | super().evaluate(step, final)


# ---- Networks ------------------------------------------------------------------------------------

def sine(seed: int) -> tuple[Tensor, Tensor]:
    """40 points of ½ + ¼ sin 3πx on [−1, 1]; inputs (40, 1), targets (40, 1)."""
    x = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
    return x, 0.5 + 0.25 * torch.sin(3 * math.pi * x)


def period(seed: int) -> tuple[Tensor, Tensor]:
    """41 points of one period of a sine, sin πx on [−1, 1]."""
    x = torch.linspace(-1, 1, 41, dtype=torch.float64)[:, None]
    return x, torch.sin(math.pi * x)


def sinc(seed: int) -> tuple[Tensor, Tensor]:
    """sin(r)/r on a 17 × 17 grid of [−8, 8]², inputs scaled to [−1, 1]²."""
    line = torch.linspace(-1, 1, 17, dtype=torch.float64)
    x = rearrange(torch.stack(torch.meshgrid(line, line, indexing="ij")), "d a b -> (a b) d")
    return x, torch.sinc(8 * x.norm(dim=1, keepdim=True) / math.pi)


def product(seed: int) -> tuple[Tensor, Tensor]:
    """400 points of sin(2πx₁) x₂² x₃³ x₄⁴ exp(−x₁−x₂−x₃−x₄) in [−1, 1]⁴; scaled to sd 1."""
    x = torch.rand(400, 4, generator=generator(seed, "points"), dtype=torch.float64) * 2 - 1
    x1, x2, x3, x4 = x.T[:, :, None]
    y = torch.sin(2 * math.pi * x1) * x2**2 * x3**3 * x4**4 * torch.exp(-x.sum(1, keepdim=True))
    return x, y / y.std()


def diabetes(seed: int) -> tuple[Tensor, Tensor]:
    """scikit-learn's 442 patients, ten columns, all of mean 0 and sd 1."""
    columns, target = load_diabetes(return_X_y=True)
    x, y = torch.tensor(columns), torch.tensor(target)[:, None]
    return (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()


TASKS: dict[str, Callable[[int], tuple[Tensor, Tensor]]] = {
    "sine": sine, "period": period, "sinc": sinc, "product": product, "diabetes": diabetes}
SEED_OF_POINTS = 0
"""The points are the same whatever a run's seed, which chooses weights."""


def network(inputs: int, hidden: int, outputs: int, draw: torch.Generator) -> nn.Sequential:
    """inputs-hidden-outputs with tanh, double precision; weights N(0, 1/fan-in), biases N(0, 1)."""
    made = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs)).double()
    with torch.no_grad():
        for layer in (made[0], made[2]):
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=draw,
                                           dtype=torch.float64) / math.sqrt(layer.in_features))
            layer.bias.copy_(torch.randn(layer.bias.shape, generator=draw, dtype=torch.float64))
    return made


class NetworkRecipe(Supervised):
    """A small network on all examples at once; a step is one iteration of the method.

    Attributes:
        reached: iterations when the error was first at most the goal, or −1. Nothing is done
            after it.
        evaluations: of the loss so far; all methods but ``lm`` take the gradient with each.
        seconds: of steps so far, without what is done once, such as compiling.
    """

    kept = (*Supervised.kept, "inverse", "reached", "evaluations", "seconds", "iterations", "last")
    float64 = True
    config: Config
    inverse: Tensor | None = None

    def splits(self) -> tuple[DataSet, Split, Split]:
        name = self.config.task.name
        if name == "digits":
            return super().splits()
        made = of_tensors(name, *TASKS[name](SEED_OF_POINTS))
        return made, made.train, made.test

    def prepare(self, images: Tensor) -> Tensor:
        if self.config.task.name != "digits":
            return images
        return rearrange(images, "n c h w -> n (c h w)").double() / 255

    def build(self) -> None:
        c, o = self.config, self.config.optim
        if self.labels.dim() == 1:
            self.labels = F.one_hot(self.labels, self.data.classes).double()
            self.eval_labels = F.one_hot(self.eval_labels, self.data.classes).double()
        self.model = network(self.inputs.shape[1], c.model.hidden, self.labels.shape[1],
                             generator(c.seed, "init"))
        p = list(self.model.parameters())
        if c.train.compile:
            torch.compiler.reset()  # earlier runs of this process count against a limit
        if o.method == "lm":
            self.optimizer = LevenbergMarquardt(self.model, damping=o.damping, rule=o.rule,
                                                β=o.factor, solver=o.solver,
                                                compile=c.train.compile)
        elif o.method == "adam":
            self.optimizer = torch.optim.Adam(p, o.lr, fused=True)
        elif o.method == "sgd":
            self.optimizer = torch.optim.SGD(p, o.lr, o.momentum, fused=True)
        elif o.method == "lbfgs":
            self.optimizer = torch.optim.LBFGS(p, max_iter=1, max_eval=26, history_size=10,
                                               tolerance_grad=0, tolerance_change=0,
                                               line_search_fn="strong_wolfe")
        elif o.method == "bfgs":
            self.inverse = torch.eye(sum(q.numel() for q in p), dtype=torch.float64)
        else:
            raise UserError(f"optim.method={o.method}: expected lm, bfgs, lbfgs, adam or sgd for "
                            f"task.name={c.task.name}")
        self.reached, self.evaluations, self.seconds = -1, 0, 0.0
        self.iterations, self.last = 0, math.inf

    def closure(self) -> Tensor:
        """The mean square error and its gradient, as torch's optimisers call for them."""
        self.model.zero_grad()
        self.evaluations += 1
        loss = F.mse_loss(self.net(self.inputs), self.labels)
        loss.backward()
        return loss

    def step(self, number: int) -> Tensor:
        """One iteration, unless the goal was reached; returns the error before it."""
        if self.reached >= 0:
            return torch.tensor(self.last)
        if not self.iterations:
            self.warm_up()
        started = time.perf_counter()
        loss = self.advance()
        self.last = loss.item()
        self.seconds += time.perf_counter() - started
        if self.last <= self.config.task.goal:
            self.reached = self.iterations
        self.iterations += 1
        return loss.detach()

    def advance(self) -> Tensor:
        """One iteration of the method; returns the error before it."""
        if self.config.optim.method == "bfgs":
            return self.bfgs()
        if self.config.optim.method != "lm":
            return self.optimizer.step(self.closure)
        self.evaluations += 2  # here and at the step's end
        try:
            return self.optimizer.step(self.inputs, self.labels)
        except MemoryError as e:
            raise UserError(f"model.hidden={self.config.model.hidden}: {e}") from e

    def warm_up(self) -> None:
        """An iteration that is taken back, so that compiling stays out of the measured time."""
        kept = copy.deepcopy(self.state())
        self.advance()
        self.load_state(kept)

    def bfgs(self) -> Tensor:
        """One iteration of scipy's BFGS from the inverse Hessian the last one left."""
        p = list(self.model.parameters())

        def put(x: np.ndarray) -> None:
            nn.utils.vector_to_parameters(torch.from_numpy(x), p)

        def value_and_slope(x: np.ndarray) -> tuple[float, np.ndarray]:
            put(x)
            loss = self.closure()
            return loss.item(), torch.cat([q.grad.flatten() for q in p]).numpy()

        x = nn.utils.parameters_to_vector(p).detach().numpy().copy()
        inverse = self.inverse.numpy()
        inverse = (inverse + inverse.T) / 2
        before, _ = value_and_slope(x)
        found = scipy.optimize.minimize(
            value_and_slope, x, jac=True, method="BFGS",
            options={"maxiter": 1, "gtol": 0, "hess_inv0": inverse})
        put(found.x)
        self.inverse = torch.tensor(found.hess_inv)
        if (found.x == x).all():  # the line search failed: begin anew, as steepest descent
            self.inverse = torch.eye(len(x), dtype=torch.float64)
        return torch.tensor(before)

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``mse`` on the training examples; on digits also ``accuracy`` on the test images.

        Finally ``iterations``, ``evaluations`` and ``seconds`` to the goal (or, with ``reached``
        0, until the end), and ``weights``, how many the network has.
        """
        with torch.no_grad():
            metrics = {"mse": F.mse_loss(self.model(self.inputs), self.labels).item()}
            if self.config.task.name == "digits":
                right = self.model(self.eval_inputs).argmax(1) == self.eval_labels.argmax(1)
                metrics = {"accuracy": fraction(right)} | metrics
        if final:
            metrics |= {"reached": float(self.reached >= 0),
                        "iterations": float(self.reached if self.reached >= 0
                                            else self.iterations),
                        "evaluations": float(self.evaluations), "seconds": self.seconds,
                        "weights": float(sum(p.numel() for p in self.model.parameters()))}
        return metrics


def recipe(config: Config) -> Recipe:
    """The recipe of a configuration's task."""
    return MinpackRecipe(config) if config.task.name == "minpack" else NetworkRecipe(config)


if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
