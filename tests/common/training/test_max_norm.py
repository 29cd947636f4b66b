"""The projection of max-norm against torch's own clipping of rows."""

import torch

from common.training.max_norm import project_max_norm


def test_it_is_torchs_renorm_of_every_row():
    w = 2 * torch.randn(40, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w[:5] *= 0.01  # inside of the ball
    ours = w.clone()
    project_max_norm([ours], 3.0)
    torch.testing.assert_close(ours, torch.renorm(w, 2, 0, 3.0), rtol=1e-6, atol=1e-9)
    assert torch.equal(ours[:5], w[:5])


def test_every_matrix_is_projected_in_place():
    weights = [torch.full((2, 4), 3.0), torch.full((3, 9), 2.0)]
    project_max_norm(weights, 1.0)
    for w in weights:
        torch.testing.assert_close(w.norm(dim=1), torch.ones(len(w)))
