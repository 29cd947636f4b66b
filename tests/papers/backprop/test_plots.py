"""The plateau: its error in closed form, its paths by torch's own descent."""

import pytest
import torch

from papers.backprop import plots


def test_the_level_without_hidden_weights_is_that_of_one_answer_to_all():
    v = torch.tensor([-4.0, 0.0, 3.0, 14.0], dtype=torch.float64)
    y = torch.sigmoid(-v / 2)  # both hidden units say one half
    torch.testing.assert_close(plots.ideal_error(0 * v, v, "squared"),
                               (8 * (1 - y) ** 2 + 56 * y**2) / 2)
    torch.testing.assert_close(plots.ideal_error(0 * v, v, "cross_entropy"),
                               -8 * y.log() - 56 * (1 - y).log())


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_paths_are_torchs_descent_and_end_where_the_caption_says(loss):
    first, second = (plots.descent(start, loss) for start in plots.STARTS)
    p = torch.tensor(plots.STARTS[0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([p], 0.01)
    for k in range(5):
        torch.testing.assert_close(first[k], p.detach())
        optimizer.zero_grad()
        plots.ideal_error(p[:1], p[1:], loss).sum().backward()
        optimizer.step()
    solved, failed = (plots.ideal_error(*path[-1:].T, loss).item() for path in (first, second))
    assert solved < 0.5
    assert failed == pytest.approx({"squared": 3.5, "cross_entropy": 24.1}[loss], abs=0.1)
