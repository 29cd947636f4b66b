"""A network of somebody's own, as ``model.own`` names it."""

import math

from torch import nn


def softmax(image, classes):
    """One linear layer on the pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(image), classes))


def number(image, classes):
    """No network."""
    return 3
