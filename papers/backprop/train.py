"""Learning representations by back-propagating errors (Rumelhart, Hinton & Williams, 1986).

    python papers/backprop/train.py experiment=quick        # digits by hand, seconds, offline
    python papers/backprop/train.py                         # symmetry, XOR, family trees …
    python papers/backprop/train.py experiment=symmetry seed=0-4

A run trains ``model.networks`` networks side by side in one batched tensor; its seed chooses the
initial weights of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors.torch import save_file
from torch import Tensor

from common.conditions import NEVER, Not
from common.config import Config as BaseConfig
from common.config import key
from common.data import DataSet, Split, generator
from common.decoded import of_tensors
from common.errors import UserError, exit_with
from common.files import write_atomic
from common.running.cli import main
from common.training.recipe import Supervised
from common.training.sums import fraction
from common.training.weight_files import RecordedRun
from papers.backprop import tasks
from papers.backprop.facts import family_units, symmetry_structure
from papers.backprop.model import Descent, Loss, Network, layered

DIGITS = {"task.name": "digits"}
LAYERED = {"task.name": Not("family_trees")}


@dataclass
class TaskConfig:
    name: Literal["symmetry", "family_trees", "xor", "parity", "encoder", "digits"] = key(
        "symmetry", "what is learned")
    held_out: int = key(0, "cases held out of training, chosen anew for every network", least=0)


@dataclass
class ModelConfig:
    networks: int = key(100, "networks trained side by side, each from weights of its own", least=1)
    hidden: int = key(2, "hidden units; family trees have groups of their own", least=1,
                      only=LAYERED)
    skip: bool = key(False, "connect every group to all later ones, as XOR's one hidden unit needs",
                     only=LAYERED)
    activation: Literal["logistic", "tanh", "relu", "softsign"] = key("logistic", "y = f(x)")
    loss: Literal["squared", "cross_entropy"] = key("squared", "E of eq. (3), or cross-entropy")
    tolerance: float = key(
        0.0, "outputs this close to their target count as having no error", least=0,
        only={"model.loss": "squared"})
    init: float = key(0.3, "weights start uniformly in [−init, init]", least=0)


@dataclass
class OptimConfig:
    lr: float = key(0.1, "ε", least=0)
    momentum: float = key(0.9, "α", least=0, below=1)
    decay: float = key(0.0, "fraction taken off every weight after each change", least=0, most=1)
    gentle: int = key(0, "first sweeps with gentle_lr and gentle_momentum", least=0)
    gentle_lr: float = key(0.005, "ε of those sweeps", least=0, only={"optim.gentle": Not(0)})
    gentle_momentum: float = key(0.5, "α of those sweeps", least=0, below=1,
                                 only={"optim.gentle": Not(0)})
    online: bool = key(False, "change weights after every case instead of after every sweep")


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {
        "data.name": DIGITS, "data.evaluate_on": DIGITS, "train.batch_size": NEVER,
        "train.compile": NEVER}
    precisions: ClassVar = ("float32", "tf32")
    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)


class BackpropRecipe(Supervised):
    """Sweeps through all cases; a step of the loop is one sweep of every network.

    Attributes:
        task: the cases.
        mask: (s c 1), 1 where a network is trained on a case and 0 where it is held out.
        sweeps: (s), the sweep after which every trained case was right for the first time, or −1.
    """

    kept = (*Supervised.kept, "sweeps")
    config: Config
    model: Network

    def splits(self) -> tuple[DataSet, Split, Split]:
        c = self.config
        if c.task.name == "digits":
            self.task = None
            return super().splits()
        options = {} if c.task.name == "family_trees" else {
            "hidden": c.model.hidden, "skip": c.model.skip}
        self.task = getattr(tasks, c.task.name)(**options)
        made = of_tensors(c.task.name, torch.cat(self.task.groups, 1), self.task.targets)
        return made, made.train, made.test

    def prepare(self, images: Tensor) -> Tensor:
        return images if self.task else rearrange(images, "n c h w -> n (c h w)").float() / 255

    def build(self) -> None:
        c = self.config
        if self.task is None:
            self.labels = F.one_hot(self.labels, self.data.classes).float()
            self.eval_labels = F.one_hot(self.eval_labels, self.data.classes).float()
            sizes = [self.inputs.shape[1], c.model.hidden, self.data.classes]
            connections, self.group_sizes = layered(sizes, c.model.skip), sizes[:1]
        else:
            sizes, connections = self.task.sizes, self.task.connections
            self.group_sizes = [g.shape[1] for g in self.task.groups]
        cases, s = len(self.inputs), c.model.networks
        if not 0 <= c.task.held_out < cases:
            raise UserError(f"task.held_out={c.task.held_out}: expected fewer than the {cases} "
                            "cases")
        if c.model.loss == "cross_entropy" and c.model.activation != "logistic":
            raise UserError("model.loss=cross_entropy: expected model.activation=logistic, whose "
                            "outputs are probabilities")
        self.model = Network(sizes, len(self.group_sizes), connections, s, c.model.activation,
                             c.model.init, generator(c.seed, "init"))
        self.E = Loss(c.model.loss, c.model.tolerance)
        self.optimizer = Descent(list(self.model.parameters()), c.optim.lr, c.optim.momentum,
                                 c.optim.decay)
        order = torch.rand(s, cases, generator=generator(c.seed, "held out")).argsort(1)
        self.mask = (order >= c.task.held_out).float()[:, :, None].to(self.device)
        self.sweeps = torch.full((s,), -1)

    def groups(self, x: Tensor) -> list[Tensor]:
        """Inputs cut into the network's input groups."""
        return list(x.split(self.group_sizes, dim=1))

    def step(self, number: int) -> Tensor:
        """One sweep: eq. (9) after all cases, or after each of them if ``optim.online``."""
        o = self.config.optim
        group = self.optimizer.param_groups[0]
        gentle = number < o.gentle
        group["lr"] = o.gentle_lr if gentle else o.lr
        group["momentum"] = o.gentle_momentum if gentle else o.momentum
        parts = [slice(k, k + 1) for k in range(len(self.inputs))] if o.online else [slice(None)]
        error = torch.zeros((), device=self.device)
        right = []
        for cases in parts:
            x, d, mask = self.inputs[cases], self.labels[cases], self.mask[:, cases]
            totals, outputs = self.model(self.groups(x))
            y = outputs[-1]
            right.append(self.right(y, d))
            error = error + (self.E.error(y * mask, d * mask)).mean()
            self.model.backward(totals, outputs, self.E.slope(y, d) * mask)
            self.optimizer.step()
        solved = (torch.cat(right, 1) | (self.mask[:, :, 0] == 0)).all(1).cpu()
        self.sweeps[solved & (self.sweeps < 0)] = number
        return error

    @staticmethod
    def right(y: Tensor, d: Tensor) -> Tensor:
        """Which cases have every output on the right side of one half, (s, c)."""
        return ((y - d).abs() < 0.5).all(2)

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """What fraction of networks has solved its task, and how soon.

        ``solved``: by now every trained case was right at once; ``trained`` and ``held_out``:
        fraction of such cases right now; ``learned``, with a tolerance: fraction of networks that
        have every output of every trained case within it right now; ``median_sweeps`` over all
        networks, −1 where fewer than half have solved it. Finally ``sweeps_<k>`` of every network
        k (−1: never) and what ``facts.py`` measures of the weights.
        """
        y = torch.cat([self.model.outputs(self.groups(x)) for x in self.eval_inputs.split(500)], 1)
        if self.task is None:
            right = (y.argmax(2) == self.eval_labels.argmax(1)).float()
            accuracy = right.mean(1)
            return {"accuracy": accuracy.mean().item(), "accuracy_best": accuracy.max().item(),
                    "accuracy_worst": accuracy.min().item()}
        right, trained = self.right(y, self.eval_labels).float(), self.mask[:, :, 0]
        n = len(self.sweeps)
        solved = self.sweeps >= 0
        ordered = torch.where(solved, self.sweeps, torch.iinfo(torch.int64).max).sort().values
        metrics = {"solved": fraction(solved),
                   "trained": ((right * trained).sum() / trained.sum()).item(),
                   "median_sweeps": float(ordered[(n - 1) // 2]) if 2 * solved.sum() > n else -1.0}
        if self.E.tolerance:
            close = self.E.right(y, self.eval_labels).all(2)
            metrics["learned"] = fraction((close | (self.mask[:, :, 0] == 0)).all(1))
        if self.config.task.held_out:
            metrics["held_out"] = ((right * (1 - trained)).sum() / (1 - trained).sum()).item()
        if final:
            metrics |= {f"sweeps_{k}": float(v) for k, v in enumerate(self.sweeps)}
            if self.config.task.name == "symmetry" and self.config.model.hidden == 2:
                metrics |= symmetry_structure(self.model, solved)
            if self.config.task.name == "family_trees":
                metrics |= family_units(self.model)
        return metrics

    def publish(self, paper_folder: Path, run: RecordedRun) -> None:
        """Leave the first seed's weights, for the pictures of Fig. 1 and Fig. 4."""
        if self.config.seed or self.config.task.name not in ("symmetry", "family_trees"):
            return
        state = {k: v.detach().cpu()[:20].contiguous() for k, v in self.model.state_dict().items()}
        path = paper_folder / "results" / self.config.experiment / "weights0.safetensors"
        write_atomic(path, lambda p: save_file(state | {"sweeps": self.sweeps[:20]}, p))


recipe = BackpropRecipe

if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))

