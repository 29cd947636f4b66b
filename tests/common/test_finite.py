"""Weights that are no numbers are refused, and named."""

import math

import numpy as np
import pytest
import torch

from common.errors import UserError
from common.finite import expect_finite


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("made", [torch.tensor, np.array])
def test_the_tensor_is_named(made, bad):
    good = made([1.0, -2.0])
    expect_finite({"a": good})
    with pytest.raises(UserError, match="tensor b: expected finite weights"):
        expect_finite({"a": good, "b": made([0.0, bad])})
