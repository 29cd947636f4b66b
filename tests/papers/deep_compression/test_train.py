"""The papers' stages, each from the one before it, and golden curves on digits."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from common.errors import UserError
from common.evidence.paper import papers
from common.experiments import Experiments
from common.files import ROOT
from common.training.weight_files import RecordedRun
from papers.deep_compression import facts, shipped
from papers.deep_compression.coding import SharedTensor, decode, encode, read
from papers.deep_compression.train import Config, recipe

EXPERIMENTS = Experiments(Config, ROOT / "papers/deep_compression/config.yaml")


def made(name, seed=0, **overrides):
    return recipe(EXPERIMENTS.resolve(
        name, seed, {k.replace("__", "."): v for k, v in overrides.items()}))


def trained(name="quick_reference", steps=60, **overrides):
    one = made(name, **overrides)
    for k in range(steps):
        one.step(k)
    return one


@pytest.fixture(scope="module")
def reference():
    return trained(steps=300).model.state_dict()


@pytest.fixture(scope="module")
def pruned(reference):
    one = made("quick_pruned")
    one.start_with(reference)
    for k in range(100):
        one.step(k)
    return one


@pytest.mark.parametrize("name", ["quick_reference", "quick_pruned", "quick_compressed",
                                  "quick_ticket"])
def test_golden_curve_of_20_steps(name, num_regression):
    one = made(name)
    num_regression.check({"loss": [one.step(k).item() for k in range(20)]},
                         default_tolerance=dict(rtol=1e-6, atol=0))


def test_what_is_shipped_has_dense_weights_and_says_the_same(pruned):
    shared = made("quick_compressed")
    shared.start_with(pruned.model.state_dict())
    for one in (pruned, shared):
        dense = one.shipped()
        assert {n.split(".")[0] for n in dense.state_dict()} == {"W", "b"}
        assert sum(w.numel() for w in dense.W.values()) == 64 * 100 + 100 * 50 + 50 * 10
        assert 0 < sum((w == 0).sum() for w in dense.W.values())
        torch.testing.assert_close(dense(one.eval_inputs), one.model(one.eval_inputs))


# ---- what config.yaml says -----------------------------------------------------------------------


def test_committed_choices_are_what_the_search_says():
    (paper,) = papers(["deep_compression"])
    errors = {}
    for name in EXPERIMENTS.expand("search"):
        c = EXPERIMENTS.resolve(name)
        assert c.data.evaluate_on == "validation" and paper.outdated(name, 0) is None
        errors[c.optim.lr] = paper.results[name][0].at("error", None)
    assert EXPERIMENTS.resolve("lenet300_reference").optim.lr == min(errors, key=errors.get)


@pytest.mark.parametrize(("name", "lr"), [
    ("lenet300_reference", 0.03), ("lenet5_reference", 0.01), ("lenet300_pruned_1", 0.003),
    ("lenet300_pruned_3", 0.003), ("lenet5_pruned_2", 0.001)])
def test_caffes_solver_and_a_tenth_of_its_rate(name, lr):
    c = EXPERIMENTS.resolve(name)
    o = c.optim
    assert (c.data.name, c.data.evaluate_on, c.train.batch_size) == ("mnist", "test", 64)
    assert (o.lr, o.momentum, o.weight_decay, o.gamma, o.power) == (lr, 0.9, 5e-4, 1e-4, 0.75)


def test_the_rate_is_caffes_policy_inv():
    one = made("quick_reference", optim__gamma=0.5, optim__power=2.0)
    assert [one.rates(k)["lr"] for k in (0, 2, 4)] == pytest.approx([0.01, 0.01 / 4, 0.01 / 9])


def test_bits_are_those_of_tables_2_and_3():
    three, five = (EXPERIMENTS.resolve(f"lenet{n}_compressed").quantise for n in (300, 5))
    assert (three.weight_bits, three.index_bits) == ([6], 5)
    assert (five.weight_bits, five.index_bits) == ([8, 8, 5, 5], 5)


@pytest.mark.parametrize(("first", "steps", "rounds"), [("ticket", 50_000, 15),
                                                        ("short", 3000, 7)])
def test_every_round_starts_from_the_one_before(first, steps, rounds):
    for k in range(rounds + 1):
        c = EXPERIMENTS.resolve(f"{first}_{k}")
        assert c.start_from == (f"{first}_{k - 1}" if k else "")
        assert (c.prune.rate, c.prune.output_rate) == ((0.2, 0.1) if k else (0.0, 0.0))
        assert (c.train.steps, c.train.batch_size, c.train.eval_every) == (steps, 60, 100)
        assert (c.optim.lr, c.data.validation, c.prune.reinitialise) == (0.0012, 5000, False)
    for k in (3, 7):
        c = EXPERIMENTS.resolve(f"{first}_reinit_{k}")
        assert c.start_from == f"{first}_{k}" and c.prune.reinitialise
        assert (c.prune.rate, c.prune.output_rate) == (0.0, 0.0), "the mask as it is"


# ---- pruning -------------------------------------------------------------------------------------


def test_pruning_starts_from_where_the_weights_are(reference):
    one = made("quick_pruned")
    one.start_with(reference)
    for (name, w), q in zip(one.model.W.items(), [1.2, 1.2, 0.6], strict=True):
        old = reference[f"W.{name}"]
        keep = old.abs() > q * old.std(correction=0)
        assert torch.equal(w, torch.where(keep, old, 0.0))
        assert torch.equal(one.model.mask(name).bool(), keep) and 0 < keep.sum() < keep.numel()
    assert one.cut == one.error()


def test_a_second_pruning_keeps_the_first(pruned):
    one = made("quick_pruned", prune__quality=[0.8])
    one.start_with(pruned.model.state_dict())
    for k in range(5):
        one.step(k)
    for name, w in one.model.W.items():
        before, now = pruned.model.mask(name), one.model.mask(name)
        assert (now <= before).all() and now.sum() < before.sum()
        assert (w[now == 0] == 0).all()


def test_metrics_of_a_pruned_network(pruned):
    metrics = pruned.evaluate(100, True)
    assert metrics["error"] == pytest.approx(100 * (1 - pruned.accuracy(
        pruned.eval_inputs, pruned.eval_labels)))
    with torch.no_grad():
        hidden = F.relu(pruned.eval_inputs.flatten(1) @ pruned.model.weights()["ip1"].T
                        + pruned.model.b["ip1"])
    assert metrics["active_ip1"] == pytest.approx((hidden > 0).double().mean().item(), abs=1e-4)
    assert metrics["active_ip3"] == 1
    sizes = {n: w.numel() for n, w in pruned.model.W.items()}
    left = {n: (w != 0).sum().item() for n, w in pruned.model.W.items()}
    assert metrics["kept_ip2"] == pytest.approx(left["ip2"] / sizes["ip2"])
    assert metrics["kept_total"] == pytest.approx(sum(left.values()) / sum(sizes.values()))


# ---- sharing and the file ------------------------------------------------------------------------


def test_a_network_is_its_file(pruned, tmp_path):
    one = made("quick_compressed")
    one.start_with(pruned.model.state_dict())
    assert {n: (one.model.codes(n) > 0).sum() for n in one.model.shapes} == {
        n: pruned.model.mask(n).sum() for n in one.model.shapes}
    for k in range(20):
        one.step(k)
    metrics = one.evaluate(20, True)
    assert metrics["read_back"] == 1
    assert metrics["bytes"] == len(encode(one.tensors()))
    parameters = sum(p.numel() for p in pruned.model.parameters())
    assert metrics["factor"] == pytest.approx(4 * parameters / metrics["bytes"])
    one.publish(tmp_path, RecordedRun(experiment="quick_compressed", seed=0, data="digits",
                                      config={}, metrics=metrics, commits=["abc"]))
    tensors = read(tmp_path / "results/quick_compressed/seed0.dcn")
    x = one.eval_inputs.flatten(1).numpy().astype(np.float64)
    for name in one.model.shapes:  # by numpy, from the file alone
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        assert isinstance(weight, SharedTensor) and len(np.unique(weight.dense())) <= 32
        x = x @ weight.dense().T + bias
        x = np.maximum(x, 0) if name != "ip3" else x
    loaded = shipped.load(tmp_path / "results/quick_compressed/seed0.dcn")
    np.testing.assert_allclose(loaded(one.eval_inputs).detach(), x, rtol=1e-4, atol=1e-4)
    wrong = (x.argmax(1) != one.eval_labels.numpy()).mean()
    assert metrics["error"] == pytest.approx(100 * wrong, abs=0.3)


def test_a_file_with_another_bit_is_not_read_back(pruned, monkeypatch):
    one = made("quick_compressed")
    one.start_with(pruned.model.state_dict())

    def changed(data):
        tensors = decode(data)
        bias = tensors["ip1.bias"].copy()
        bias[0] = np.nextafter(bias[0], np.float32(9))
        return tensors | {"ip1.bias": bias}

    monkeypatch.setattr("papers.deep_compression.compression.decode", changed)
    assert one.evaluate(0, True)["read_back"] == 0


def test_fine_tuning_is_sgd_on_summed_gradients(pruned):
    """Against dense weights whose gradients are grouped by cluster, by hand."""
    one = made("quick_compressed")
    one.start_with(pruned.model.state_dict())
    codes = {n: one.model.codes(n) for n in one.model.shapes}
    c = {n: p.detach().clone() for n, p in one.model.C.items()}
    b = {n: p.detach().clone() for n, p in one.model.b.items()}
    speed = {k: torch.zeros_like(v) for k, v in {**c, **{f"b{n}": v for n, v in b.items()}}.items()}
    for k in range(5):
        x, y = one.batch_of(k)
        w = {n: torch.cat([torch.zeros(1), c[n]])[codes[n]].requires_grad_() for n in c}
        bias = {n: v.clone().requires_grad_() for n, v in b.items()}
        h = x.flatten(1)
        for n in c:
            h = h @ w[n].T + bias[n]
            h = h.relu() if n != "ip3" else h
        loss = F.cross_entropy(h, y)
        loss.backward()
        lr = one.rates(k)["lr"]
        for n in c:
            summed = torch.stack([w[n].grad[codes[n] == j + 1].sum() for j in range(len(c[n]))])
            for key, value, g in ((n, c[n], summed), (f"b{n}", b[n], bias[n].grad)):
                speed[key] = 0.9 * speed[key] + g
                value -= lr * speed[key]
        assert one.step(k).item() == pytest.approx(loss.item(), rel=1e-4)
    for n, p in one.model.C.items():
        torch.testing.assert_close(p.detach(), c[n], rtol=1e-3, atol=1e-5)


# ---- tickets -------------------------------------------------------------------------------------


def test_a_ticket_goes_back_to_where_its_network_started(reference):
    start = made("quick_ticket", prune__rate=0.0, prune__output_rate=0.0).model.state_dict()
    ticket = made("quick_ticket")
    ticket.start_with(reference)
    for name, w in ticket.model.W.items():
        m, size = ticket.model.mask(name).bool(), w.numel()
        assert int(m.sum()) == size - round((0.25 if name == "ip3" else 0.5) * size)
        assert torch.equal(w, torch.where(m, start[f"W.{name}"], 0.0)), "θ_0"
        trained_ = reference[f"W.{name}"].abs()
        assert trained_[m].min() >= trained_[~m].max(), "the largest after training"
    again = made("quick_ticket", prune__rate=0.0, prune__output_rate=0.0, prune__reinitialise=True)
    again.start_with(ticket.model.state_dict())
    for name, w in again.model.W.items():
        m = ticket.model.mask(name)
        assert torch.equal(again.model.mask(name), m), "the same mask"
        kept = m.bool()
        assert (w[kept] != ticket.model.W[name][kept]).float().mean() > 0.99, "new weights"


def test_early_stopping_is_the_least_validation_loss():
    one = made("quick_ticket", data__validation=100)
    assert len(one.inputs) == 1337 and len(one.held_inputs) == 100
    losses, accuracies = {}, {}
    for k in range(120):
        one.step(k)
        if (k + 1) % 20 == 0:
            metrics = one.evaluate(k + 1, False)
            losses[k + 1] = F.cross_entropy(
                one.predict(one.held_inputs), one.held_labels).item()
            accuracies[k + 1] = one.accuracy(one.eval_inputs, one.eval_labels)
            assert metrics["val_loss"] == pytest.approx(losses[k + 1])
            best = min(losses, key=losses.get)
            assert (metrics["stop"], metrics["stop_accuracy"]) == (best, accuracies[best])
    one.best, before = 0.0, metrics
    one.step(120)
    after = one.evaluate(140, True)
    assert (after["stop"], after["stop_accuracy"]) == (before["stop"], before["stop_accuracy"])


def test_adam_is_torchs_under_the_mask(reference):
    one = made("quick_ticket")
    one.start_with(reference)
    w = {n: p.detach().clone().requires_grad_() for n, p in one.model.W.items()}
    b = {n: p.detach().clone().requires_grad_() for n, p in one.model.b.items()}
    optimizer = torch.optim.Adam([*b.values(), *w.values()], 1.2e-3)
    for k in range(10):
        x, y = one.batch_of(k)
        h = x.flatten(1)
        for n in w:
            h = h @ (w[n] * one.model.mask(n)).T + b[n]
            h = h.relu() if n != "ip3" else h
        loss = F.cross_entropy(h, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert one.step(k).item() == pytest.approx(loss.item(), rel=1e-4)
    assert all((p[one.model.mask(n) == 0] == 0).all() for n, p in one.model.W.items())


def test_pixels_of_tickets_are_normalised():
    one = made("quick_ticket")
    assert one.inputs.mean().item() == pytest.approx(0, abs=1e-5)
    assert one.inputs.std().item() == pytest.approx(1, abs=1e-4)


# ---- bad values, measures over runs --------------------------------------------------------------


@pytest.mark.parametrize(("name", "changed", "said"), [
    ("quick_pruned", {"prune__quality": [1.0, 2.0]}, "one for each of the layers ip1, ip2, ip3"),
    ("quick_compressed", {"quantise__weight_bits": [5, 6]}, "one for each of the layers ip1, ip2"),
    ("quick_reference", {"model__network": "lenet_5"}, "8×8 pixels: expected at least 16×16"),
    ("quick_ticket", {"prune__rate": 1.0}, "prune.rate=1.0: expected a number of at least 0 and"),
])
def test_bad_values_are_one_line(name, changed, said):
    with pytest.raises(UserError, match=said) as e:
        made(name, **changed)
    assert "\n" not in str(e.value)


def test_weights_of_another_network_do_not_fit(reference):
    for name in ("quick_pruned", "quick_compressed", "quick_ticket"):
        with pytest.raises(UserError, match="is absent there"):
            made(name).start_with({"W.ip1": reference["W.ip1"]})


def run(**metrics):
    return SimpleNamespace(at=lambda name, step: metrics[name])


def test_measures_over_runs():
    runs = {"short_7": run(stop=900.0, stop_accuracy=0.98),
            "short_reinit_7": run(stop=1800.0, stop_accuracy=0.975)}
    assert facts.stop_ratio(runs, "reinit_7", "short_7") == 2
    assert facts.points(runs, "short_7", "reinit_7") == pytest.approx(0.5)
    one = {"e": run(error=1.5, error_cut=4.0, bytes=27_123.0, rate_pq_total=0.04,
                    rate_pqh_total=0.03, kept_total=0.1)}
    assert facts.regained(one) == 2.5
    assert facts.file_kilobytes(one) == 27.123
    assert facts.huffman_saves(one) == pytest.approx(0.25)
    assert facts.thousands_left(one, "lenet_300_100") == pytest.approx(26.62)


def test_multiplications_left_are_the_papers_columns():
    """Their weights and activities give their FLOP%: 8 of 532 and 16 of 4,586 thousand."""
    for network, percent in (("lenet_300_100", 8), ("lenet_5", 16)):
        rows = facts.rows(network)
        published = {"e": run(**{f"{c}_{r['layer']}": float(r[c])
                                 for r in rows for c in ("kept", "active")})}
        assert 100 * facts.flops_left(published, network) == pytest.approx(percent, abs=0.5)
