"""Distillation (Hinton, Vinyals & Dean, 2015): a teacher, and students of its soft targets.

    python papers/distillation/train.py experiment=quick            # bundled digits, seconds
    python papers/distillation/train.py                             # hard against soft targets
    python papers/distillation/train.py experiment=no3 seed=0-4 train.vectorize=true
    python papers/distillation/train.py experiment=teacher          # the logits it all starts from
"""

from __future__ import annotations

from pathlib import Path
from common.entry import exit_with

import torch
from safetensors.torch import save_file
from torch import Tensor

from common.config import start_of
from common.data import Split, generator
from common.errors import UserError
from common.files import write_atomic
from common.running.cli import main
from common.training.augment import PadCropFlip
from common.training.descent import sgd
from common.training.max_norm import project_max_norm
from common.training.recipe import Row, Supervised
from common.training.schedules import linear
from common.training.sums import fraction
from common.training.weight_files import RecordedRun
from papers.distillation.measures import PAIRS, by_shift, examples
from papers.distillation.model import Network, distillation_loss, network_of
from papers.distillation.settings import Config

TEACHERS = ("teacher", "search_teacher_0.3", "search_teacher_long")
"""The experiments whose logits are left for students, as config.yaml names them."""


class DistillationRecipe(Supervised):
    """A network on labels, or on a teacher's soft targets beside them.

    Attributes:
        train: the whole training split, whatever is trained on.
        members: which of it are trained on.
        v: the teacher's logits of these; None without a teacher.
        jittered: makes shifted images; None without jitter.
    """

    state_names = (*Supervised.state_names, "v")
    config: Config
    model: Network
    v: Tensor | None = None
    jittered: PadCropFlip | None = None

    def select(self, train: Split) -> Split:
        """The images of ``transfer.digits``, the transfer set."""
        digits = self.config.transfer.digits
        self.train = train
        self.members = torch.arange(len(train))
        if not digits:
            return train
        self.members = torch.isin(train.labels, torch.tensor(digits)).nonzero()[:, 0]
        if not len(self.members):
            raise UserError(f"transfer.digits={digits}: expected labels of "
                            f"{self.config.data.name}, below {self.data.classes}")
        return train[self.members]

    def build(self) -> None:
        c = self.config
        if len(set(c.measure.classes) & set(range(self.data.classes))) != len(
                c.measure.classes) or len(c.measure.classes) == self.data.classes:
            raise UserError(f"measure.classes={c.measure.classes}: expected some of the "
                            f"{self.data.classes} classes, not all, each once")
        self.model = Network(self.inputs[0].numel(), c.model.hidden, self.data.classes,
                             c.model.p_input, c.model.p_hidden, generator(c.seed, "init"))
        self.model.to(self.device)
        self.optimizer = sgd(self.model.parameters(), self.device, lr=c.optim.lr,
                             momentum=c.optim.momentum, fused=True)
        if c.transfer.jitter:
            self.jittered = PadCropFlip(self.inputs, c.transfer.jitter, flip=False)
        if start_of(c):
            self.v = torch.zeros(len(self.inputs), self.data.classes, device=self.device)

    def start_with(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take a teacher's stored logits of the training images, or compute them by its weights.

        Raises:
            UserError: they are of other data, or no teacher's.
        """
        size, n = self.inputs[0].numel(), len(self.train)
        if "logits" in weights:
            taken = {"logits": weights["logits"]}
            v = weights["logits"]
        else:
            teacher = network_of(weights)
            if teacher.layers[0].in_features != size:
                raise UserError(f"its images have {teacher.layers[0].in_features} pixels, those "
                                f"here {size}")
            taken, v = weights, self.logits_of_all(teacher.to(self.device))
        if v.shape != (n, self.data.classes):
            raise UserError(f"its logits are {tuple(v.shape)}, expected one for each of the "
                            f"{n} training images and {self.data.classes} classes")
        assert self.v is not None
        self.v.copy_(v.float()[self.members])
        return taken

    def rates(self, step: int) -> dict[str, float]:
        """A straight line from ``optim.lr`` to 0, which no update has."""
        return {"lr": linear(self.config.optim.lr, 0.0, self.config.train.steps, step)}

    def row(self, step: int) -> Row:
        """Also how far each image is shifted."""
        row = super().row(step)
        if self.jittered is None:
            return row
        return row | self.jittered.draw(len(row["index"]), self.generator("jitter", step))

    def batch(self, row: Row) -> tuple[Tensor, ...]:
        """Images, labels and, of a student, the teacher's logits."""
        index = row["index"]
        images = (self.inputs[index] if self.jittered is None
                  else self.jittered(index, row["offset"], row["flip"]))
        soft = () if self.v is None else (self.v[index],)
        return images, self.labels[index], *soft

    def loss(self, batch: tuple[Tensor, ...], row: Row) -> Tensor:
        """The labels' mean cross-entropy, or :func:`distillation_loss`."""
        if self.v is None:
            return super().loss(batch, row)
        images, labels, v = batch
        transfer = self.config.transfer
        return distillation_loss(self.net(images), v, labels, transfer.temperature, transfer.hard)

    # ---- what comes out --------------------------------------------------------------------------

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``errors``, how many predictions are wrong, and ``error`` in %.

        In the final step also ``train_error`` in %, of what was trained on, and where biases are
        to be shifted what :func:`by_shift` measures.
        """
        z = self.predict(self.eval_inputs)
        wrong = z.argmax(1) != self.eval_labels
        metrics = {"errors": float(wrong.sum().item()), "error": 100 * fraction(wrong)}
        if final:
            metrics["train_error"] = 100 * (1 - self.accuracy(self.inputs, self.labels))
            if self.config.measure.classes:
                metrics |= by_shift(z, self.eval_labels, self.logits_of_all(self.model),
                                    self.train.labels, self.config.measure)
        return metrics

    @torch.no_grad()
    def logits_of_all(self, network: Network) -> Tensor:
        """A network's logits of the whole training split, in evaluation mode: (n, N)."""
        training = network.training
        network.eval()
        z = torch.cat([network(self.prepare(part).to(self.device))
                       for part in self.train.images.split(self.chunk)])
        network.train(training)
        return z


class TeacherRecipe(DistillationRecipe):
    """A network with max-norm: its weights are put back onto their balls after every update."""

    def update(self, row: Row) -> Tensor:
        loss = super().update(row)
        for p, layer in zip(self.model.retained, self.model.layers, strict=True):
            project_max_norm([layer.weight], p * self.config.model.max_norm)
        return loss

    def publish(self, paper_folder: Path, run: RecordedRun) -> None:
        """Leave a chosen teacher's logits of all training images, and a few images to be shown.

        ``logits`` (n, N), float16; ``images`` (4, h, w), uint8, and ``shown`` (4, N), their logits.
        """
        if self.config.seed or self.config.experiment not in TEACHERS:
            return
        v = self.logits_of_all(self.model).cpu()
        chosen = torch.tensor([k for pair in PAIRS for k in examples(v, self.train.labels, *pair)])
        path = paper_folder / "results" / self.config.experiment / "logits0.safetensors"
        content = {"logits": v.half(), "images": self.train.images[chosen, 0].contiguous(),
                   "shown": v[chosen]}
        write_atomic(path, lambda p: save_file(content, p))


def recipe(config: Config) -> DistillationRecipe:
    """The recipe a configuration asks for."""
    return (TeacherRecipe if config.model.max_norm else DistillationRecipe)(config)


if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
