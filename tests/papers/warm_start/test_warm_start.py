"""Warm starts: what is taken over, what shrinking does, when training stops."""

import copy
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from common.errors import UserError
from common.evidence.paper import papers
from common.evidence.plotting import style
from common.experiments import Experiments
from common.files import ROOT
from common.running import cli
from common.training import checkpoint
from papers.warm_start import plots
from papers.warm_start.facts import corner, entropy_rise, homogeneity, kept_decisions
from papers.warm_start.model import MLP, gradient_norm, initialise, shrink_perturb
from papers.warm_start.train import Config, WarmStartRecipe

EXPERIMENTS = Experiments(Config, ROOT / "papers/warm_start/config.yaml")


def recipe(name="quick_random", seed=0, **overrides):
    return WarmStartRecipe(EXPERIMENTS.resolve(
        name, seed, {k.replace("__", "."): v for k, v in overrides.items()}))


def donor(seed=7):
    made = recipe("quick_half", seed)
    return {k: v.clone() for k, v in made.model.state_dict().items()}


@pytest.mark.parametrize("arm", ["quick_random", "quick_sgd", "quick_shrunk"])
def test_golden_curve_of_20_epochs(arm, num_regression):
    made = recipe("quick_random", optim__rule="sgd", optim__lr=0.1) if arm == "quick_sgd" \
        else recipe(arm)
    if arm == "quick_shrunk":
        made.start_with(donor())
    losses = [made.step(k).item() for k in range(20)]
    num_regression.check({"loss": losses}, default_tolerance=dict(rtol=1e-4, atol=0))


# ---- the protocol --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in EXPERIMENTS.experiments if "quick" not in n])
def test_the_papers_values(name):
    c = EXPERIMENTS.resolve(name)
    part = 0.1 if name.startswith("tenth") else 1.0
    assert (c.data.name, c.train.batch_size, c.optim.lr, c.phase.seen) == (
        "cifar10", 128, 0.001, part / 2)
    assert c.phase.share == (part / 2 if name.endswith("half") else part)
    assert c.optim.until == (0.0 if name.startswith("logistic") else 0.99)
    assert c.optim.rule == ("sgd" if "sgd" in name else "adam")
    network, _, arm = name.rpartition("_")
    assert c.start_from == (f"{network}_half" if arm in ("warm", "shrunk") else "")
    assert (c.start.shrink, c.start.perturb) == ((0.4, 0.1) if arm == "shrunk" else (1, 0))


def test_two_thirds_are_fitted_and_the_first_half_of_them_comes_first():
    half, whole = recipe("quick_half"), recipe("quick_random")
    n = 1437  # digits that are no test images of the data set
    assert len(whole.inputs) == 2 * n // 3 and len(whole.eval_inputs) == n - 2 * n // 3
    assert len(half.inputs) == len(whole.inputs) // 2
    assert torch.equal(half.inputs, whole.inputs[:len(half.inputs)])
    assert torch.equal(half.eval_inputs, whole.eval_inputs)
    every = torch.cat([whole.inputs, whole.eval_inputs]).flatten(1)
    known = whole.prepare(whole.data.train.images).flatten(1)
    assert sorted(map(tuple, every.tolist())) == sorted(map(tuple, known.tolist()))
    assert not torch.equal(whole.inputs, recipe("quick_random", seed=1).inputs)


def test_pixels_go_from_minus_one_to_one():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8)
    torch.testing.assert_close(recipe().prepare(images), torch.tensor([-1.0, -0.6, 1.0]))


def test_the_network_is_its_formula_and_every_parameter_gets_a_gradient():
    network, x = MLP(6, [5, 4], 3).double(), torch.randn(20, 1, 2, 3, dtype=torch.float64)
    h = x.flatten(1)
    for k, layer in enumerate(network.layers):
        h = h @ layer.weight.T + layer.bias
        h = torch.tanh(h) if k < 2 else h
    torch.testing.assert_close(network(x), h)
    F.cross_entropy(network(x), torch.arange(20) % 3).backward()
    for name, p in network.named_parameters():
        assert p.grad.abs().sum() > 0, name


def test_initial_weights_are_torchs_in_distribution():
    ours = MLP(400, [300], 200)
    initialise(ours, torch.Generator().manual_seed(0))
    for layer in ours.layers:
        torchs, bound = torch.nn.Linear(layer.in_features, layer.out_features), \
            layer.in_features ** -0.5
        for p, q in ((layer.weight, torchs.weight), (layer.bias, torchs.bias)):
            assert p.abs().max() <= bound and p.abs().max().item() == pytest.approx(bound, rel=0.02)
            assert p.std().item() == pytest.approx(q.std().item(), rel=0.1)


def test_an_epoch_is_adam_on_every_image_once():
    ours, theirs = recipe(), recipe()
    optimizer = torch.optim.Adam(theirs.model.parameters(), 0.001)
    for number in range(2):
        seen, losses, right = [], [], 0
        order = torch.randperm(len(theirs.inputs), generator=theirs.generator("batches", number))
        for index in order.split(32):
            x, y = theirs.inputs[index], theirs.labels[index]
            optimizer.zero_grad()
            logits = theirs.model(x)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            optimizer.step()
            seen += index.tolist()
            losses.append(loss.item())
            right += (logits.argmax(1) == y).sum().item()
        assert sorted(seen) == list(range(len(theirs.inputs)))
        assert ours.step(number).item() == pytest.approx(np.mean(losses), rel=1e-5)
        assert ours.train_accuracy == pytest.approx(right / len(seen))
    for p, q in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_training_stops_at_the_accuracy_and_weights_stay():
    made = recipe(optim__until=0.9)
    accuracies = []
    while not made.stopped and made.epochs < 50:
        last = made.step(made.epochs)
        accuracies.append(made.train_accuracy)
    assert accuracies[-1] >= 0.9 > max(accuracies[:-1])
    before = copy.deepcopy(made.model.state_dict())
    assert made.step(made.epochs + 5) is last
    assert all(torch.equal(v, before[k]) for k, v in made.model.state_dict().items())
    assert made.evaluate(200, True)["epochs"] == len(accuracies)


def test_what_never_stopped_took_infinitely_long_and_zero_means_all_epochs():
    made = recipe(optim__until=1.0)
    made.step(0)
    assert made.evaluate(1, True)["epochs"] == np.inf and made.evaluate(1, False)["epochs"] == 1
    made = recipe(optim__until=0.0)
    for k in range(3):
        made.step(k)
    assert made.evaluate(3, True)["epochs"] == 3


# ---- where the second phase begins ---------------------------------------------------------------


def test_a_warm_start_has_the_donors_weights_bit_for_bit():
    short = {"train.steps": 3, "train.eval_every": 2, "record": False, "train.device": "cpu"}
    (half,) = cli.train(WarmStartRecipe, EXPERIMENTS, "quick_half", [3], short)
    weights = checkpoint.load(half.request.folder)["recipe"]["model"]
    made = recipe("quick_warm", seed=3)
    assert not torch.equal(made.model.layers[0].weight, weights["layers.0.weight"])
    made.start_with(weights)
    for name, p in made.model.state_dict().items():
        assert torch.equal(p, weights[name]), name
    made.step(0)
    assert not torch.equal(made.model.layers[0].weight, weights["layers.0.weight"])


def test_shrinking_and_perturbing_has_the_formulas_mean_and_variance():
    """Over noise: the mean is λθ, the variance σ²/(3 fan_in), that of the first weights."""
    λ, σ, draws = 0.4, 0.1, []
    θ = MLP(12, [8], 5)
    for k in range(4000):
        network, other = copy.deepcopy(θ), MLP(12, [8], 5)
        initialise(other, torch.Generator().manual_seed(k))
        shrink_perturb(network, λ, σ, list(other.parameters()))
        draws.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    found = torch.stack(draws).double()
    wanted = torch.cat([p.detach().flatten() for p in θ.parameters()])
    fans = torch.cat([torch.full((p.numel(),), float(layer.in_features))
                      for layer in θ.layers for p in layer.parameters()])
    sd = σ / (3 * fans).sqrt().double()
    assert ((found.mean(0) - λ * wanted).abs() / (sd / 4000**0.5)).max() < 4.5
    torch.testing.assert_close(found.var(0) / sd**2, torch.ones_like(sd), rtol=0.15, atol=0)


def test_the_recipe_shrinks_and_adds_what_is_no_donors_beginning():
    weights, made = donor(0), recipe("quick_shrunk")
    noise = [p.detach().clone() for p in made.model.parameters()]
    made.start_with(weights)
    for p, θ, fresh in zip(made.model.parameters(), weights.values(), noise, strict=True):
        torch.testing.assert_close(p.detach(), 0.4 * θ + 0.1 * fresh)
        assert not torch.equal(fresh, θ), "the donor began with these"


def test_proposition_1_against_float64_numpy():
    g = np.random.default_rng(0)
    network = MLP(9, [7, 6], 4, "relu", bias=False).double()
    x = g.normal(size=(50, 9))

    def logits(scale):
        h = x
        for k, layer in enumerate(network.layers):
            h = (np.maximum(h, 0) if k else h) @ (scale * layer.weight.detach().numpy()).T
        return h
    before = logits(1.0)
    np.testing.assert_allclose(network(torch.from_numpy(x)).detach().numpy(), before)
    shrink_perturb(network, 0.3, 0.0, list(network.parameters()))
    np.testing.assert_allclose(network(torch.from_numpy(x)).detach().numpy(), 0.3**3 * before)
    np.testing.assert_allclose(logits(1.0), 0.3**3 * before)


def test_exact_facts():
    assert kept_decisions(False) == 1 and kept_decisions(True) < 1
    assert homogeneity() == 0 and entropy_rise() > 0
    assert corner(1, 0) == corner(0, 1) == 0 and corner(0.4, 0.1) > 0.01


def test_gradient_norms_are_those_of_the_mean_loss():
    network, x, y = MLP(6, [5], 3).double(), torch.randn(70, 6).double(), torch.arange(70) % 3
    F.cross_entropy(network(x), y).backward()
    wanted = torch.cat([p.grad.flatten() for p in network.parameters()]).norm().item()
    assert gradient_norm(network, x, y, chunk=32) == pytest.approx(wanted)


def test_gradients_are_of_the_images_seen_before_and_of_the_others():
    made = recipe("quick_warm")
    made.start_with(donor())
    n, network = len(made.inputs) // 2, copy.deepcopy(made.model)
    made.step(0)
    wanted = [gradient_norm(network, made.inputs[s], made.labels[s])
              for s in (slice(n), slice(n, None))]
    metrics = made.evaluate(1, True)
    assert [metrics["gradient_old"], metrics["gradient_new"]] == pytest.approx(wanted)
    half = recipe("quick_half")
    half.step(0)
    assert "gradient_old" not in half.evaluate(1, True)


@pytest.mark.parametrize(("changed", "said"), [
    ({"phase__share": 1e-6}, "phase.share=1e-06, phase.seen=0.5: expected at least one of 958"),
    ({"optim__until": 1.5}, "optim.until=1.5: expected a number of at least 0 and at most 1"),
    ({"start__shrink": 0.5}, "start.shrink"),
])
def test_bad_values_are_one_line(changed, said):
    with pytest.raises(UserError, match=said):
        recipe(**changed)


def test_weights_of_another_network_are_refused():
    with pytest.raises(UserError, match=r"layers.0.weight is absent there"):
        recipe("quick_warm").start_with({})


def test_figures_without_runs_are_left_out():
    (paper,) = papers(["warm_start"])
    tenth = {k: v for k, v in paper.results.items() if k.startswith("tenth_")}

    def drawn(results):
        paper.results = results
        with style():
            return {name: made for name, _, made in plots.draw(paper)}
    found = drawn(tenth)
    assert list(found) == ["tenth", "table1", "gradients"] and len(found["gradients"].axes) == 1
    labels = [t.get_text() for t in found["table1"].axes[0].get_xticklabels()]
    assert labels and all("(not run)" in t for t in labels)
    both = drawn(tenth | {k.replace("tenth", "mlp"): v for k, v in tenth.items()})
    assert list(both) == ["tenth", "phases", "table1", "gradients"]
    assert len(both["gradients"].axes) == 2
    labels = [t.get_text() for t in both["table1"].axes[0].get_xticklabels()]
    assert ["(not run)" in t for t in labels] == [False] * 3 + [True] * 4


# ---- its pace ------------------------------------------------------------------------------------


def test_the_pace_of_resnet18_is_two_updates_of_an_epoch(monkeypatch):
    """The digits' 958 images to fit in batches of 64: an epoch has 15 updates."""
    made = recipe("quick_half", model__kind="resnet18", train__batch_size=64)
    whole, updates = len(made.inputs), []
    monkeypatch.setattr(made, "update", lambda row: updates.append(len(row["index"]))
                        or torch.zeros(()))
    part = made.shorten()
    made.step(0)
    assert updates == [64, 64] and part == 128 / whole
    assert recipe("quick_half").shorten() == 1.0


@pytest.mark.parametrize("beside", [1, 2])
def test_a_shortened_step_counts_as_the_whole_that_it_is_part_of(monkeypatch, beside):
    """The clock moves on by a second whenever it is asked."""
    made = [recipe("quick_half", seed) for seed in range(beside)]
    monkeypatch.setattr(cli, "steps_of", lambda recipe, n: Idle())

    def measured():
        clock = itertools.count()
        monkeypatch.setattr(cli.time, "perf_counter", lambda: float(next(clock)))
        return cli.seconds_per_step(made)

    whole, shortened = measured(), []
    for r in made:
        r.shorten = lambda r=r: shortened.append(r) or 0.1
    assert measured() == pytest.approx(10 * whole)
    assert shortened == made


class Idle:
    def take(self, first, last):
        yield from range(first + 1, last + 1)

    def losses(self):
        return []
