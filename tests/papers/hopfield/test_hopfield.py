"""The dynamics against plain loops over neurons, the theory against tabulated values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from torch.autograd.functional import jacobian

from common.errors import UserError
from common.evidence.results import Result
from common.experiments import Experiments
from common.files import ROOT
from papers.hopfield import facts
from papers.hopfield.model import (
    HopfieldLayer,
    asynchronous,
    asynchronous_by_overlaps,
    energy,
    hebb,
    modern_energy,
    modern_update,
    overlap,
    pseudo_inverse,
    synchronous,
    threshold,
    whole_hebb,
    zero_one_bias,
)
from papers.hopfield.train import Config, HopfieldRecipe, ModelConfig

EXPERIMENTS = Experiments(Config, ROOT / "papers/hopfield/config.yaml")


def signs(*shape, seed=0, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    return (torch.randint(0, 2, shape, generator=g) * 2 - 1).to(dtype)


def recipe(name="quick_hebb", seed=0, **overrides):
    return HopfieldRecipe(EXPERIMENTS.resolve(name, seed, {
        k.replace("__", "."): v for k, v in overrides.items()}))


def test_hebbs_rule_by_its_definition():
    ξ = signs(3, 7)
    J = hebb(ξ)
    for i in range(7):
        for j in range(7):
            expected = 0 if i == j else sum(ξ[μ, i] * ξ[μ, j] for μ in range(3)) / 7
            assert J[i, j].item() == pytest.approx(float(expected))
            assert whole_hebb(ξ)[i, j].item() == round(7 * float(expected))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(2, 60), st.integers(1, 70), st.integers(0, 10**6))
def test_sweeps_equal_the_loop_over_neurons(p, n, block, seed):
    ξ, S = signs(p, n, seed=seed), signs(4, n, seed=seed + 1)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    expected = S.clone()
    whole = (ξ.T @ ξ).fill_diagonal_(0)  # N J: whole numbers
    for i in order.tolist():
        for t in range(4):
            h = sum(whole[i, j] * expected[t, j] for j in range(n))
            if h != 0:
                expected[t, i] = 1.0 if h > 0 else -1.0
    assert torch.equal(asynchronous(whole, S, order), expected)
    assert torch.equal(asynchronous_by_overlaps(ξ, S, order, block), expected)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(2, 60), st.integers(0, 10**6))
def test_the_energy_never_rises_under_asynchronous_updates(p, n, seed):
    J = (hebb(signs(p, n, seed=seed, dtype=torch.float64)) * n).round()
    S = signs(5, n, seed=seed + 1, dtype=torch.float64)
    for i in range(n):
        new = asynchronous(J, S, torch.tensor([i]))
        assert (energy(J, new) <= energy(J, S)).all()
        S = new


def test_synchronous_updates_can_end_in_a_cycle_of_two():
    J = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    S = torch.tensor([[1.0, -1.0]])
    assert torch.equal(synchronous(J, S), -S) and torch.equal(synchronous(J, -S), S)
    assert torch.equal(threshold(torch.zeros(1, 2), S), S), "no field, no change"


def test_the_pseudo_inverse_holds_correlated_patterns():
    ξ = signs(5, 40, dtype=torch.float64)
    ξ[1] = ξ[0]
    ξ[1, :3] *= -1  # Hebb's rule would melt the two
    assert torch.equal(synchronous(pseudo_inverse(ξ), ξ), ξ)
    np.testing.assert_allclose(pseudo_inverse(ξ) + torch.diag(torch.diagonal(
        ξ.T @ torch.linalg.inv(ξ @ ξ.T) @ ξ)), ξ.T @ torch.linalg.inv(ξ @ ξ.T) @ ξ, atol=1e-9)


def test_the_modern_update_descends_its_energy_and_is_its_fixed_point():
    X, ξ = (torch.randn(k, 6, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
            for k in (9, 3))
    for _ in range(20):
        new = modern_update(X, ξ, 2.0)
        assert (modern_energy(X, new, 2.0) <= modern_energy(X, ξ, 2.0) + 1e-12).all()
        ξ = new
    slope = jacobian(lambda s: modern_energy(X, s, 2.0).sum(), ξ)
    torch.testing.assert_close(slope, ξ - modern_update(X, ξ, 2.0))


def test_the_layer_is_attention_and_retrieves():
    torch.manual_seed(0)
    layer, R, Y = HopfieldLayer(5, 6, 8, 3), torch.randn(2, 4, 5), torch.randn(2, 7, 6)
    K = layer.W_K(Y)
    expected = torch.nn.functional.scaled_dot_product_attention(layer.W_Q(R), K, layer.W_V(K))
    torch.testing.assert_close(layer(R, Y), expected)
    layer(R, Y).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in layer.parameters())

    memory = HopfieldLayer(64, 64, 64, 64, β=1.0, updates=2)
    for weight in memory.parameters():
        weight.data.copy_(torch.eye(64))
    X = signs(1, 50, 64)
    assert torch.equal(memory(0.4 * X, X).sign(), X)
    alone = modern_update(X[0], modern_update(X[0], X[0] * 0.5, 1.0), 1.0)
    torch.testing.assert_close(memory(X * 0.5, X)[0], alone)


@pytest.mark.parametrize(("load", "wrong"), [(0.05, 0.0004), (0.1, 0.100), (0.12, 0.339),
                                             (0.13, 0.639)])
def test_the_mean_field_overlap(load, wrong):
    assert 50 * (1 - facts.mean_field_overlap(load)) == pytest.approx(wrong, abs=0.0005)
    assert facts.mean_field_overlap(0.139) == 0


def test_loads_of_theory_fulfil_their_equation():
    y = facts.critical()
    h = 1e-5
    assert (facts.load_of(y + h) - facts.load_of(y - h)) / (2 * h) == pytest.approx(0, abs=1e-8)
    assert math.sqrt(2 * facts.load_of(2.0)) * 2.0 + 2.0 * 2 / math.sqrt(math.pi) * math.exp(
        -4) == pytest.approx(math.erf(2.0))


def test_crosstalk_is_a_gaussian_tail_and_wrong_bits_follow_from_the_overlap():
    for load in (0.105, 0.138, 0.61):
        assert facts.crosstalk(load) == pytest.approx(100 * stats.norm.sf(load**-0.5))
    wrong = 100 * stats.norm.sf(facts.critical() * 2**0.5)  # m = erf y
    assert facts.critical_wrong_bits() == pytest.approx(wrong)
    run = Result("hopfield", "e", 0, {"overlap": 0.95}, {}, {"model.load": 0.12}, {})
    assert facts.from_theory({"e": run}) == pytest.approx(0.95 - (1 - 2 * 0.00339), abs=2e-5)


def test_modern_retrieval_turns_a_tenth_and_asks_for_every_sign():
    g = torch.Generator().manual_seed(0)
    X = (torch.randint(0, 2, (60, 10), generator=g).float() * 2 - 1).numpy()
    places = torch.rand(60, 10, generator=g).argsort(1).numpy()
    back = 0
    for pattern, place in zip(X, places, strict=True):
        start = np.where(place < 1, -pattern, pattern)
        weights = np.exp(X @ start - 10)
        back += (np.sign(weights @ X) == pattern).all()
    assert facts.modern_retrieval(10, 60) == pytest.approx(100 * back / 60)
    assert 0 < back < 60


def test_overlaps_and_wrong_bits():
    r = recipe("load_500_0.1", model__neurons=50, start__flipped=0.1)
    assert (overlap(r.own, r.model.S) == 0.8).all(), "a tenth of the bits is turned"
    metrics = r.evaluate(0, False)
    assert metrics["overlap"] == pytest.approx(0.8) and metrics["wrong_bits"] == pytest.approx(10)
    assert len(r.model.S) == 5, "one trial a pattern"


def test_unstable_bits_and_energy_by_couplings():
    r = recipe("load_500_0.2", model__neurons=60)
    ξ = r.ξ
    turned = (synchronous(hebb(ξ), ξ) != ξ).double().mean().item()
    assert r.evaluate(0, True)["unstable_bits"] == pytest.approx(100 * turned) and turned > 0
    assert r.energy() == pytest.approx((energy(hebb(ξ), r.model.S) / 60).mean().item(), abs=1e-6)


def test_at_rest_nothing_changes_any_more():
    r = recipe("load_500_0.05", model__neurons=100)
    for k in range(30):
        r.step(k)
    assert not r.changed and r.evaluate(30, True)["at_rest"] == 1
    S = r.model.S.clone()
    assert r.step(30) == 0 and torch.equal(S, r.model.S)


def test_neurons_of_zero_and_one_by_their_definition():
    ξ, S = signs(3, 20, dtype=torch.float64), signs(6, 20, seed=1, dtype=torch.float64)
    J, V, order = (hebb(ξ) * 20).round(), (S + 1) / 2, torch.randperm(20)
    for i in order.tolist():
        h = V @ J[i]
        V[:, i] = torch.where(h > 0, 1.0, torch.where(h < 0, 0.0, V[:, i]))
    assert torch.equal(asynchronous(J, S, order, zero_one_bias(J)), 2 * V - 1)


@pytest.mark.parametrize("overrides", [
    dict(name="random_30"), dict(name="random_30_symmetric", model__update="synchronous")])
def test_a_field_of_zero_is_decided_by_no_rounding(overrides):
    r = recipe(**{"seed": 3, "model__load": 0.2, "start__trials": 50} | overrides)
    ξ, S = r.ξ.numpy().astype(int), r.model.S.numpy().astype(int)
    whole, one_by_one = ξ.T @ ξ, overrides["name"] == "random_30"
    np.fill_diagonal(whole, 0)
    zeros = 0
    for k in range(6):
        old = S.copy()
        for i in r.order(k).tolist():
            h = whole[i] @ (S.T + 1) if one_by_one else whole[i] @ old.T
            zeros += (h == 0).sum()
            S[:, i] = np.where(h == 0, S[:, i], np.sign(h))
        r.step(k)
        assert (r.model.S.numpy() == S).all()
    assert zeros > 0, "otherwise nothing is shown"


def test_neurons_of_zero_and_one_are_measured_with_their_own_fields():
    r = recipe("memories_100_0.15")
    ξ, V = r.ξ.double(), (r.ξ.double() + 1) / 2
    T = torch.einsum("si,sj->ij", 2 * V - 1, 2 * V - 1)  # Hopfield's eq. (2)
    T.fill_diagonal_(0)
    turned = ((V @ T > 0) != (V == 1)) & (V @ T != 0)
    plus_minus = recipe("memories_100_symmetric_0.15")
    fewer, unstable = (m.evaluate(0, True)["unstable_bits"] for m in (plus_minus, r))
    assert unstable == pytest.approx(100 * turned.double().mean().item())
    assert torch.equal(plus_minus.ξ, r.ξ) and fewer < unstable
    states = (r.model.S.double() + 1) / 2
    E = -0.5 * torch.einsum("ti,ij,tj->t", states, T, states)  # eq. (7)
    assert r.energy() == pytest.approx(E.mean().item() / 100**2, rel=1e-6)
    assert (ξ == 2 * V - 1).all()


def with_bits_turned(patterns, counts):
    """Each pattern with its first so many bits turned."""
    S = patterns.clone()
    for state, k in zip(S, counts, strict=True):
        state[:k] *= -1
    return S


@pytest.mark.parametrize("neurons", [100, 60])
def test_what_counts_as_retrieved(neurons):
    r = recipe("load_500_0.1", model__neurons=neurons, model__load=0.2)
    wrong = np.arange(len(r.own)) % 8  # 0 to 7 bits, across 5 % of either size
    r.model.S.copy_(with_bits_turned(r.own, wrong.tolist()))
    m = r.evaluate(0, False)
    assert m["retrieved"] == pytest.approx((wrong / neurons <= 0.05).mean())
    assert m["under_5"] == pytest.approx((wrong / neurons < 0.05).mean())
    assert m["exact"] == pytest.approx((wrong == 0).mean())
    assert m["under_5"] < m["retrieved"]


@pytest.mark.parametrize("name", ["random_30", "random_30_symmetric"])
def test_random_starts_end_in_a_memory_its_reverse_near_one_or_elsewhere(name):
    r = recipe(name, start__trials=10)
    wrong = [0, 0, 1, 1, 2, 29, 30, 0, 15, 28]  # bits of 30
    r.model.S.copy_(with_bits_turned(r.ξ.repeat(2, 1), wrong))
    memories = torch.cat([r.ξ, -r.ξ])
    least = (r.model.S[:, None] != memories).sum(2).amin(1)  # 2 p memories, by counting
    m = r.evaluate(0, False)
    assert m["assigned"] == pytest.approx((least == 0).double().mean().item())
    assert m["near"] == pytest.approx((least == 1).double().mean().item()), "5 %: 1.5 bits"
    assert m["elsewhere"] == pytest.approx((least > 1).double().mean().item())
    assert min(m[k] for k in ("assigned", "near", "elsewhere")) > 0


@pytest.mark.parametrize("name", ["recall_30_0.4", "recall_30_symmetric_0.4"])
def test_returned_counts_starts_nearest_to_their_own_pattern(name):
    r = recipe(name, start__repeats=8)
    S0, ξ = r.model.S.clone(), r.ξ
    assert torch.equal(r.own, torch.cat([ξ] * 8)) and len(S0) == 40
    assert ((S0 != r.own).sum(1) == 12).all() and len(S0.unique(dim=0)) > 30
    for k in range(20):
        r.step(k)
    own_nearest, back = [], []
    for t in range(40):
        distances = [(S0[t] != other).sum().item() for other in torch.cat([ξ, -ξ])]
        if sorted(distances)[0] == 12 < sorted(distances)[1]:
            own_nearest.append(t)
            back.append(torch.equal(r.model.S[t], ξ[t % 5]))
    assert r.nearest.nonzero().flatten().tolist() == own_nearest and 0 < len(own_nearest) < 40
    assert r.evaluate(20, True)["returned"] == pytest.approx(np.mean(back))


def test_hopfields_probability_of_a_wrong_bit_is_his_integral():
    σ = math.sqrt(9 * 50)
    tail, _ = integrate.quad(lambda x: math.exp(-x * x / (2 * σ * σ)), 50, 50 + 12 * σ)
    assert facts.bit_error(100, 10) == pytest.approx(tail / math.sqrt(2 * math.pi * σ * σ))
    assert facts.no_error(100, 10) == pytest.approx(math.exp(-100 * facts.bit_error(100, 10)))


@pytest.mark.parametrize("name", ["quick_hebb", "quick_pseudo_inverse"])
def test_golden_curve_of_20_steps(name, num_regression):
    r = recipe(name, start__flipped=0.2)
    changed = [r.step(k).item() for k in range(20)]
    num_regression.check({"changed": changed}, default_tolerance=dict(rtol=1e-6, atol=0))


@pytest.mark.parametrize(("overrides", "message"), [
    (dict(model__patterns="random", model__load=0.0001), "expected at least one pattern"),
    (dict(start__flipped=1.5), "of at least 0 and at most 1"),
    (dict(start__trials=0), "of at least 1")])
def test_bad_values_are_one_line(overrides, message):
    with pytest.raises(UserError, match=message):
        recipe(**overrides)


def test_sweeps_on_a_device_wait_once_for_a_block(accelerator_without_float64):
    draw = torch.Generator().manual_seed(0)
    ξ = torch.randint(0, 2, (3, 40), generator=draw).float() * 2 - 1
    S = torch.randint(0, 2, (4, 40), generator=draw).float() * 2 - 1
    order = torch.randperm(40, generator=draw)
    found = []
    for device in (torch.device("cpu"), accelerator_without_float64.device):
        patterns, states, o = ξ.to(device), S.to(device), order.to(device)
        J = hebb(patterns)
        with accelerator_without_float64.watch() as log:
            swept = asynchronous_by_overlaps(patterns, states, o, block=10)
        assert not log.uploads and len(log.reads) == (0 if device.type == "cpu" else 1 + 4)
        assert torch.equal(asynchronous(J, states, o, zero_one_bias(J) * 0), swept)
        found.append([swept.tolist(), synchronous(J, states).tolist(), energy(J, swept).tolist(),
                      overlap(patterns, patterns).tolist(), pseudo_inverse(patterns).tolist(),
                      modern_update(patterns, states, 0.5).tolist()])
    assert found[0] == found[1]


def test_neurons_0_and_1_are_not_updated_at_once():
    with pytest.raises(UserError, match=r"states=zero_one: expected model.update=asynchronous"):
        Config(model=ModelConfig(states="zero_one", update="synchronous")).check()
