"""Learning representations by back-propagating errors (Rumelhart, Hinton & Williams, 1986).

    python papers/backprop/train.py experiment=quick        # digits by hand, seconds, offline
    python papers/backprop/train.py                         # symmetry, XOR, family trees …
    python papers/backprop/train.py experiment=symmetry seed=0-4

A run trains ``model.networks`` networks side by side in one batched tensor; its seed chooses the
initial weights of all of them.
"""

from __future__ import annotations

from pathlib import Path
from common.entry import exit_with

import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors.torch import save_file
from torch import Tensor

from common.data import DataSet, Split, generator
from common.decoded import of_tensors
from common.errors import UserError
from common.files import write_atomic
from common.running.cli import main
from common.training.recipe import Supervised
from common.training.weight_files import RecordedRun
from papers.backprop import tasks
from papers.backprop.facts import family_units, symmetry_structure
from papers.backprop.measures import classified, learned, right
from papers.backprop.model import Descent, Loss, Network, layered
from papers.backprop.settings import Config


class BackpropRecipe(Supervised):
    """Sweeps through all cases; a step of the loop is one sweep of every network.

    Attributes:
        task: the cases; None on digits.
        mask: (s c 1), 1 where a network is trained on a case and 0 where it is held out.
        sweeps: (s), the sweep after which every trained case was right for the first time, or −1.
    """

    state_names = (*Supervised.state_names, "sweeps")
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
        done = []
        for cases in parts:
            x, d, mask = self.inputs[cases], self.labels[cases], self.mask[:, cases]
            totals, outputs = self.model(self.groups(x))
            y = outputs[-1]
            done.append(right(y, d))
            error = error + (self.E.error(y * mask, d * mask)).mean()
            self.model.backward(totals, outputs, self.E.slope(y, d) * mask)
            self.optimizer.step()
        solved = (torch.cat(done, 1) | (self.mask[:, :, 0] == 0)).all(1).cpu()
        self.sweeps[solved & (self.sweeps < 0)] = number
        return error

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """What fraction of networks has :func:`learned` its task, or their accuracy on digits.

        Finally also ``sweeps_<k>`` of every network k (−1: never) and what ``facts.py`` measures of
        the weights.
        """
        y = torch.cat([self.model.outputs(self.groups(x)) for x in self.eval_inputs.split(500)], 1)
        if self.task is None:
            return classified(y, self.eval_labels)
        metrics = learned(y, self.eval_labels, self.mask[:, :, 0], self.sweeps, self.E)
        if final:
            metrics |= {f"sweeps_{k}": float(v) for k, v in enumerate(self.sweeps)}
            if self.config.task.name == "symmetry" and self.config.model.hidden == 2:
                metrics |= symmetry_structure(self.model, self.sweeps >= 0)
            if self.config.task.name == "family_trees":
                metrics |= family_units(self.model)
        return metrics

    def publish(self, paper_folder: Path, run: RecordedRun) -> None:
        """Write the weights of seed 0, from which Fig. 1 and Fig. 4 are drawn."""
        if self.config.seed or self.config.task.name not in ("symmetry", "family_trees"):
            return
        state = {k: v.detach().cpu()[:20].contiguous() for k, v in self.model.state_dict().items()}
        path = paper_folder / "results" / self.config.experiment / "weights0.safetensors"
        write_atomic(path, lambda p: save_file(state | {"sweeps": self.sweeps[:20]}, p))


recipe = BackpropRecipe

if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))

