"""Levenberg-Marquardt (Moré, 1978; Hagan & Menhaj, 1994): MINPACK's test runs, and small networks.

    python papers/levenberg_marquardt/train.py experiment=quick    # bundled digits, offline
    python papers/levenberg_marquardt/train.py experiment=minpack  # the 53 published runs
    python papers/levenberg_marquardt/train.py experiment=sine seed=0-9   # by all methods
"""

from __future__ import annotations

import copy
import math
import time
from typing import Any
from common.entry import exit_with

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from common.data import DataSet, Split, generator
from common.decoded import of_tensors
from common.errors import UserError
from common.running.cli import main
from common.training.recipe import Recipe, Supervised
from common.training.sums import fraction
from papers.levenberg_marquardt import rivals
from papers.levenberg_marquardt.minpack import MinpackRecipe
from papers.levenberg_marquardt.optim import LevenbergMarquardt
from papers.levenberg_marquardt.settings import Config
from papers.levenberg_marquardt.tasks import SEED_OF_POINTS, TASKS, network


class NetworkRecipe(Supervised):
    """Train a small network on all examples at once; a step is one iteration of the method.

    scipy's methods make all their iterations in the first step, in one call, as their users do;
    the other steps report the errors one by one.

    Attributes:
        θ: the weights as one vector, of which the network's parameters are views; ``lm`` has none.
        reached: iterations until the error was at most the goal, or −1 as long as it is not. Later
            steps compute nothing.
        evaluations: of the error so far; all methods but ``lm`` compute the gradient each time.
        seconds: processor time of the iterations so far, without what is done only once, such as
            compiling.
        iterations: made so far.
        last: the error before the last of them.
        errors: at the start and after every iteration, by scipy's methods; None for others.
    """

    state_names = (*Supervised.state_names, "reached", "evaluations", "seconds",
                   "iterations", "last", "errors")
    float64 = True
    clocked = ("seconds",)
    config: Config
    θ: Tensor
    errors: list[float] | None = None

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
                             generator(c.seed, "init")).to(self.device)
        if c.train.compile:
            torch.compiler.reset()  # earlier runs of this process count against a limit
        if o.method == "lm":
            self.optimizer = LevenbergMarquardt(self.model, damping=o.damping, rule=o.rule,
                                                β=o.factor, solver=o.solver,
                                                compile=c.train.compile)
        else:
            self.θ = rivals.in_one_piece(self.model)
            self.error_and_gradient = rivals.error_and_gradient(self.model, c.train.compile)
            if o.method == "adam":
                self.optimizer = torch.optim.Adam([self.θ], o.lr, fused=True)
            elif o.method == "sgd":
                self.optimizer = torch.optim.SGD([self.θ], o.lr, o.momentum, fused=True)
            elif o.method == "gdx":
                self.optimizer = rivals.VariableRate([self.θ], o.lr, o.momentum)
            elif o.method in rivals.SCIPY:
                self.errors = []
            else:
                raise UserError(f"optim.method={o.method}: expected lm, cg, gdx, bfgs, lbfgs, adam "
                                f"or sgd for task.name={c.task.name}")
        self.reached, self.evaluations, self.seconds = -1, 0, 0.0
        self.iterations, self.last = 0, math.inf

    def closure(self) -> Any:
        """The mean square error and its gradient, (), as torch's optimisers call for them."""
        self.evaluations += 1
        loss, self.θ.grad = self.error_and_gradient(self.θ, self.inputs, self.labels)
        return loss

    def step(self, number: int) -> Tensor:
        """One iteration, unless the goal was reached; returns the error before it."""
        if self.errors is not None:
            if not self.errors:
                self.all_at_once()
            return torch.tensor(self.errors[min(number, len(self.errors) - 1)])
        if self.reached >= 0:
            return torch.tensor(self.last)
        if not self.iterations:
            self.warm_up()
        started = time.process_time()
        loss = self.advance()
        self.last = loss.item()
        self.seconds += time.process_time() - started
        if self.last <= self.config.task.goal:
            self.reached = self.iterations
        self.iterations += 1
        return loss.detach()

    @torch.no_grad()
    def advance(self) -> Tensor:
        """One iteration of the method; returns the error before it."""
        if not isinstance(self.optimizer, LevenbergMarquardt):
            loss: Any = self.optimizer.step(self.closure)  # which torch's types call a float
            return loss
        self.evaluations += 2  # here and at the step's end
        try:
            return self.optimizer.step(self.inputs, self.labels)
        except MemoryError as e:
            raise UserError(f"model.hidden={self.config.model.hidden}: {e}") from e

    def warm_up(self) -> None:
        """Make an iteration and undo it, so that compiling stays out of the measured time."""
        kept = copy.deepcopy(self.state())
        self.advance()
        self.load_state(kept)

    @torch.no_grad()
    def all_at_once(self) -> None:
        """Make all iterations of one of scipy's methods."""
        def f(x: np.ndarray) -> tuple[float, np.ndarray]:
            self.evaluations += 1
            error, gradient = self.error_and_gradient(torch.from_numpy(x), self.inputs, self.labels)
            return error.item(), gradient.numpy()

        c, start = self.config, self.θ.numpy().copy()
        f(start)  # compiled here, outside the measured time
        self.evaluations = 0
        started = time.process_time()
        x, self.errors = rivals.minimise(c.optim.method, f, start, c.train.steps, c.task.goal)
        self.seconds = time.process_time() - started
        self.θ.copy_(torch.from_numpy(x))
        self.iterations, self.last = len(self.errors) - 1, self.errors[-1]
        if self.last <= c.task.goal:
            self.reached = self.iterations

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``mse`` on the training examples; on digits also ``accuracy`` on the test images.

        Finally ``iterations``, ``evaluations`` and ``seconds`` to the goal (or, with ``reached``
        0, until the end), and ``weights``, how many the network has.
        """
        with torch.no_grad():
            metrics = {"mse": F.mse_loss(self.model(self.inputs), self.labels).item()}
            if self.errors:  # which were all made at the first step
                metrics["mse"] = self.errors[min(step, len(self.errors) - 1)]
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
