"""Quasi-Newton and Newton steps against scipy, torch and closed forms."""

import copy
import functools
import math

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.problems import problem
from papers.lbfgs import facts
from papers.lbfgs.linesearch import Point, cubic, strong_wolfe
from papers.lbfgs.model import BFGS, LBFGS, SteepestDescent, bfgs_update, two_loop
from papers.lbfgs.newton import Newton, modified, saddle_free

METHODS = {"lbfgs": LBFGS, "bfgs": BFGS, "descent": SteepestDescent} | {
    kind: functools.partial(Newton, kind=kind) for kind in ("modified", "damped", "saddle_free")}


def quadratic(n=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    A = torch.randn(n, n, generator=g, dtype=torch.float64)
    return A @ A.T + torch.eye(n, dtype=torch.float64), torch.randn(n, generator=g,
                                                                     dtype=torch.float64)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(2, 9), st.integers(0, 10**6))
def test_the_recursion_is_the_matrix(m, n, seed):
    A, g = quadratic(n, seed)
    draw = torch.Generator().manual_seed(seed)
    S = [torch.randn(n, generator=draw, dtype=torch.float64) for _ in range(m)]
    Y = [A @ s for s in S]
    H = 0.7 * torch.eye(n, dtype=torch.float64)
    for s, y in zip(S, Y, strict=True):
        H = bfgs_update(H, s, y)
        torch.testing.assert_close(H @ y, s, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(H, H.T, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(two_loop(g, S, Y, 0.7), H @ g, rtol=1e-5, atol=1e-7)


def test_the_update_is_scipys():
    A, s = quadratic()
    approximation = scipy.optimize.BFGS(init_scale=1.0)
    approximation.initialize(6, "inv_hess")
    H = torch.eye(6, dtype=torch.float64)
    for k in range(4):
        s = torch.roll(s, k) + k
        approximation.update(s.numpy(), (A @ s).numpy())
        H = bfgs_update(H, s, A @ s)
    np.testing.assert_allclose(H, approximation.get_matrix(), rtol=1e-9)


def wolfe(φ, slope, first=1.0):
    start = Point(0.0, φ(0.0), slope(0.0))
    return start, strong_wolfe(lambda α: Point(α, φ(α), slope(α)), start, first)


@pytest.mark.parametrize("first", [1e-3, 0.1, 1.0, 30.0])
@pytest.mark.parametrize(("φ", "slope"), [  # two of Moré & Thuente's functions, a well, a wall
    (lambda α: -α / (α * α + 2), lambda α: (α * α - 2) / (α * α + 2) ** 2),
    (lambda α: (α + 0.004) ** 5 - 2 * (α + 0.004) ** 4,
     lambda α: 5 * (α + 0.004) ** 4 - 8 * (α + 0.004) ** 3),
    (lambda α: (α - 3) ** 2, lambda α: 2 * (α - 3)),
    (lambda α: -math.sqrt(α + 1) if α < 2 else math.inf,
     lambda α: -0.5 / math.sqrt(α + 1) if α < 2 else math.nan)])
def test_the_search_fulfils_both_conditions(φ, slope, first):
    start, found = wolfe(φ, slope, first)
    assert found.α > 0 and found.φ <= start.φ + 1e-4 * found.α * start.slope
    if math.isfinite(φ(3.0)):  # the wall has no flat place before it
        assert abs(found.slope) <= 0.9 * abs(start.slope)


def test_nothing_lower_gives_the_start():
    start, found = wolfe(lambda α: 0.0 if α == 0 else 1.0, lambda α: -1.0)
    assert found == start


def test_a_cubic_is_minimised_exactly():
    def of(α):
        return Point(α, α**3 - 3 * α, 3 * α * α - 3)
    assert cubic(of(0.2), of(2.5)) == pytest.approx(1)
    assert cubic(of(2.5), of(0.2)) == pytest.approx(1)


@pytest.mark.parametrize("name", ["lbfgs", "bfgs", "modified", "damped", "saddle_free"])
def test_where_scipy_ends(name):
    p = problem("beale")
    x = p.x().requires_grad_()
    optimizer = METHODS[name]([x])
    for _ in range(60):
        optimizer.step(lambda: p.f(x))
    expected = scipy.optimize.minimize(lambda v: p.f(torch.from_numpy(v)).item(), p.x().numpy(),
                                       method="L-BFGS-B", options={"ftol": 1e-16}).x
    np.testing.assert_allclose(x.detach(), [3, 0.5], atol=1e-6)
    np.testing.assert_allclose(expected, [3, 0.5], atol=1e-3)


@pytest.mark.parametrize("name", ["modified", "damped", "saddle_free", "pure"])
def test_newton_solves_a_quadratic_in_one_step(name):
    A, b = quadratic()
    x = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    optimizer = Newton([x], name)
    optimizer.step(lambda: 0.5 * x @ A @ x - b @ x)
    torch.testing.assert_close(x.detach(), torch.linalg.solve(A, b))


def test_the_hessian_is_autograds():
    p = problem("wood")
    x = p.x().requires_grad_()
    expected = torch.autograd.functional.hessian(p.f, p.x())
    torch.testing.assert_close(Newton([x]).hessian(lambda: p.f(x)), expected)
    a, b = p.x()[:1].requires_grad_(), p.x()[1:].requires_grad_()
    torch.testing.assert_close(Newton([a, b]).hessian(lambda: p.f(torch.cat([a, b]))), expected)
    c, d = torch.ones(2, requires_grad=True), torch.ones(1, requires_grad=True)
    assert not Newton([c, d]).hessian(lambda: c.sum()).any(), "linear, and without d"


def test_directions_of_an_indefinite_hessian_lead_down():
    H = torch.diag(torch.tensor([2.0, -3.0, 0.0], dtype=torch.float64))
    g = torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64)
    assert modified(H, g) @ g < 0 and saddle_free(H, g) @ g < 0
    torch.testing.assert_close(saddle_free(H, g)[:2], torch.tensor([-0.5, -1 / 3]).double())
    positive = H + 5 * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(modified(positive, g), -torch.linalg.solve(positive, g))


@pytest.mark.parametrize("name", METHODS)
def test_f_never_rises_and_a_run_goes_on_from_its_state(name):
    p = problem("wood")

    def fresh():
        x = p.x().requires_grad_()
        return x, METHODS[name]([x])
    x, optimizer = fresh()
    values = [optimizer.step(lambda: p.f(x)).item() for _ in range(6)]
    assert values == sorted(values, reverse=True) and values[-1] < values[0]
    state, there = copy.deepcopy(optimizer.state_dict()), x.detach().clone()
    expected = [optimizer.step(lambda: p.f(x)).item() for _ in range(5)]
    y, resumed = fresh()
    y.data.copy_(there)
    resumed.load_state_dict(state)
    assert [resumed.step(lambda: p.f(y)).item() for _ in range(5)] == expected
    assert resumed.evaluations == optimizer.evaluations


def test_a_closure_may_call_backward_or_not():
    p, ends = problem("bard"), []
    for calls in (True, False):
        x = p.x().requires_grad_()
        optimizer = LBFGS([x])

        def closure(x=x, optimizer=optimizer, calls=calls):
            loss = p.f(x)
            if calls:
                optimizer.zero_grad()
                loss.backward()
            return loss
        for _ in range(8):
            optimizer.step(closure)
        ends.append(x.detach().clone())
    torch.testing.assert_close(*ends, rtol=0, atol=0)


BATCHES = [problem("wood").f, lambda x: (x**4).sum() + x.sum(), lambda x: ((x - 3) ** 2).sum()]


@pytest.mark.parametrize("name", [*METHODS, "pure"])
def test_the_loss_is_that_of_the_batch_and_of_the_weights_at_hand(name):
    x = problem("wood").x().requires_grad_()
    optimizer = METHODS.get(name, functools.partial(Newton, kind="pure"))([x])
    for k in range(12):
        f = BATCHES[k // 2 % 3]
        if k == 7:
            x.data.add_(0.1)
        before = f(x.detach())
        assert optimizer.step(lambda f=f: f(x)) == before
        if name != "pure":
            assert f(x.detach()) <= before


def test_a_fixed_function_is_evaluated_once_less_unless_weights_change():
    ends = []
    for fixed in (False, True):
        x = problem("wood").x().requires_grad_()
        optimizer = LBFGS([x], fixed=fixed)
        losses = [optimizer.step(lambda x=x: BATCHES[0](x)).item() for _ in range(9)]
        ends.append((losses, x.tolist(), optimizer.evaluations - (0 if fixed else 8)))
    assert ends[0] == ends[1], "the same path; eight values were known already"
    x.data.add_(0.1)
    expected = BATCHES[0](x.detach())
    assert optimizer.step(lambda: BATCHES[0](x)) == expected


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("name", [*METHODS, "pure"])
def test_weights_survive_a_loss_that_is_not_finite(name, fixed):
    x = problem("wood").x().requires_grad_()
    optimizer = METHODS.get(name, functools.partial(Newton, kind="pure"))([x], fixed=fixed)
    optimizer.step(lambda: BATCHES[0](x))
    there = x.detach().clone()
    x.data[0] += 1  # so that a fixed function is evaluated, too
    moved = x.detach().clone()
    used = optimizer.evaluations
    assert optimizer.step(lambda: BATCHES[0](x) * math.nan).isnan()
    assert torch.equal(x.detach(), moved) and (name == "pure" or optimizer.evaluations == used + 1)
    assert optimizer.step(lambda: BATCHES[0](x) + math.inf).isinf() or fixed
    assert torch.equal(x.detach(), moved)
    x.data.copy_(there)
    assert optimizer.step(lambda: BATCHES[0](x)) == BATCHES[0](there) and x.isfinite().all()


def test_a_search_never_ends_where_only_the_gradient_is_missing():
    _, found = wolfe(lambda α: -α, lambda α: -1.0 if α < 0.7 else math.nan, first=1.0)
    assert 0 < found.α < 0.7 and math.isfinite(found.slope)
    _, found = wolfe(lambda α: -α if α < 0.9 else 5.0, lambda α: (
        -1.0 + α if α < 0.3 else math.nan if α < 0.9 else 1.0))
    assert 0 < found.α < 0.3 and math.isfinite(found.slope)


def test_a_pair_against_the_curvature_is_left_out():
    A, g = quadratic()
    draw = torch.Generator().manual_seed(3)
    S = [torch.randn(6, generator=draw, dtype=torch.float64) for _ in range(3)]
    Y = [A @ S[0], -S[1], A @ S[2]]  # the second bends downwards: s·y < 0
    for make in (LBFGS, BFGS):
        optimizer = make([torch.zeros(6, dtype=torch.float64, requires_grad=True)])
        for s, y in zip(S, Y, strict=True):
            optimizer.learn(s, y)
        first = S[2] @ Y[2] / (Y[2] @ Y[2]) if make is LBFGS else S[0] @ Y[0] / (Y[0] @ Y[0])
        H = scipy.optimize.BFGS(init_scale=float(first))
        H.initialize(6, "inv_hess")
        for k in (0, 2):
            H.update(S[k].numpy(), Y[k].numpy())
        np.testing.assert_allclose(optimizer.direction(lambda: g, g), -H.get_matrix() @ g.numpy(),
                                   rtol=1e-9)


def test_a_step_over_a_ridge_leaves_no_pair():
    x = torch.tensor([1.0, 0.5], dtype=torch.float64, requires_grad=True)
    lbfgs, bfgs = LBFGS([x]), BFGS([x])
    for optimizer in (lbfgs, bfgs):
        x.data.copy_(torch.tensor([1.0, 0.5]))
        optimizer.step(lambda: -(x**2).sum())  # falls for ever: no length fulfils the conditions
    assert lbfgs.memory["S"] == lbfgs.memory["Y"] == [] and "H" not in bfgs.memory


@pytest.mark.parametrize("name", ["lbfgs", "modified", "descent"])
def test_it_stalls_at_the_minimum_and_stays_there(name):
    x = torch.tensor([0.0], dtype=torch.float64, requires_grad=True)
    optimizer = METHODS[name]([x])
    for _ in range(3):
        optimizer.step(lambda: (x**2 + 1).sum())
    assert optimizer.stalled and x.item() == 0


def test_facts():
    assert facts.two_loop_error() < 1e-12 and facts.secant_error() < 1e-12
    assert facts.conjugate_gradient_error() < 1e-12
    plain, _ = facts.exact_steps(8, 8, 7)
    assert plain[-1].norm() > 1e-6 > 1e6 * facts.finite_termination(), "n steps, not fewer"
    assert facts.theory_steps_a_decade(0.1) == pytest.approx(12.63, abs=0.01)
    assert facts.escape(facts.descent(0.5), 2.0**-5) == 6
    assert facts.newton_distance("damped", 1) == 0 and facts.newton_distance("saddle_free", 2) > 1


def loaded(optimizer, **options):
    """The optimiser with a saved state whose options are these."""
    state = optimizer.state_dict()
    state["param_groups"][0] |= options
    optimizer.load_state_dict(state)


@pytest.mark.parametrize(("wrong", "message"), [
    (lambda x: LBFGS([x], 0), "m=0: expected"),
    (lambda x: BFGS([{"params": [x]}, {"params": [torch.ones(1)]}]), "expected one group"),
    (lambda x: LBFGS([x]).add_param_group({"params": [torch.ones(1)]}), "expected one group"),
    (lambda x: LBFGS([{"params": [x], "m": 0}]), "m=0: expected at least one pair"),
    (lambda x: loaded(LBFGS([x]), m=0), "m=0: expected at least one pair"),
    (lambda x: loaded(Newton([x]), kind="modifed"), "kind='modifed': expected .* did you mean"),
    (lambda x: loaded(BFGS([x]), c1=0.9, c2=0.1), "c1=0.9, c2=0.1: expected 0 < c1 < c2 < 1"),
    (lambda x: Newton([x], "modifed"), "kind='modifed': expected .* did you mean 'modified'"),
    (lambda x: LBFGS([x], c1=0.9, c2=0.1), "c1=0.9, c2=0.1: expected 0 < c1 < c2 < 1")])
def test_bad_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(torch.ones(1, requires_grad=True))
