"""What the shared recipe gains over the usual training loop, and how close it is to the bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from common import data
from common.experiments import Experiments
from common.running.bench import Contender, stand_in
from common.training.linear import linear
from papers.resnet.model import cifar_resnet, multiply_adds
from papers.resnet.train import Config, ResNetRecipe

STEPS, BATCH = 4, 128


class AugmentedSampleBySample(Dataset):
    """The widely used way: one PIL image at a time, padded, cropped, mirrored, normalised."""

    def __init__(self, split: data.Split):
        self.images = split.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = split.labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        image = Image.fromarray(self.images[i])
        if torch.rand(1) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = ImageOps.expand(image, 4)
        dy, dx = (int(torch.randint(0, 9, (1,))) for _ in range(2))
        image = image.crop((dx, dy, dx + 32, dy + 32))
        x = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
        return (x - self.MEAN) / self.STD, self.labels[i]

    MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison; random images stand in for CIFAR-10."""
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
    with stand_in((3, 32, 32)) as split:
        recipe = ResNetRecipe(experiments.resolve("resnet20", 0, {"train.batch_size": BATCH}))
    images = STEPS * BATCH
    row = recipe.row(0)
    yield "training ResNet-20, images/s", [
        Contender("eager NCHW, DataLoader", usual(split), images, "images"),
        Contender("this repository", lambda: [recipe.step(k) for k in range(STEPS)],
                  images, "images"),
        Contender("  without augmentation", lambda: [recipe.update(row) for _ in range(STEPS)],
                  images, "images"),
        Contender("bound by multiply-adds", matmuls(), images, "images")]


def usual(split: data.Split) -> Callable[[], None]:
    """STEPS updates by a plain loop over a DataLoader without workers."""
    network = cifar_resnet(20)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    loader = DataLoader(AugmentedSampleBySample(split), BATCH, shuffle=True)

    def run() -> None:
        for k, (x, y) in enumerate(loader):
            if k == STEPS:
                return
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(x), y)
            loss.backward()
            optimizer.step()
    return run


def matmuls() -> Callable[[], None]:
    """The multiply-adds of STEPS updates, three times the forward pass's, as large products."""
    n = 2048
    a, b = torch.randn(n, n), torch.randn(n, n)
    count = 3 * multiply_adds(cifar_resnet(20), torch.zeros(1, 3, 32, 32)) * BATCH * STEPS
    repeats = count / n**3

    def run() -> None:
        for _ in range(int(repeats)):
            linear(a, b)
        rest = int((repeats % 1) * n)
        if rest:
            linear(a[:rest], b)
    return run


def steps() -> Iterator[tuple[str, ResNetRecipe]]:
    """Yield (name, recipe) of steps that are timed beside their limit."""
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
    with stand_in((3, 32, 32)):
        for name in ("resnet20", "resnet56"):
            yield name, ResNetRecipe(experiments.resolve(name))
