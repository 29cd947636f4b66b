"""The bandit: rewards, memory, and the agents' updates against autograd in float64."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import nn

from common.errors import UserError
from common.evidence.paper import papers
from common.experiments import Experiments
from common.files import ROOT
from common.training.noise import use_generator
from papers.bayes_by_backprop.bandit import (
    EAT,
    LEAVE,
    Agents,
    Memory,
    contexts,
    minibatches_held,
    oracle,
    passes,
    reward,
    values,
)
from papers.bayes_by_backprop.prior import GaussianPrior, ScaleMixturePrior, gaussian_log_density
from papers.bayes_by_backprop.train import BanditRecipe, Config

EXPERIMENTS = Experiments(Config, ROOT / "papers/bayes_by_backprop/config.yaml")


@pytest.fixture
def mushrooms(tmp_path, monkeypatch):
    """Forty mushrooms; the first attribute gives the poisonous ones away."""
    rows = ["class," + ",".join(f"a{k}" for k in range(22))]
    for k in range(40):
        poisonous = k % 3 == 0
        rows.append(",".join(["ep"[poisonous], "xy"[poisonous], "abcd"[k % 4], *("z" * 20)]))
    path = tmp_path / "uci/mushroom/agaricus-lepiota.csv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(rows) + "\n")
    monkeypatch.setenv("PAPERS_DATA", str(tmp_path))


def made(name="bandit_bbb", seed=0, **overrides):
    small = {"train.batch_size": 8, "train.compile": False, "task.agents": 3, "task.updates": 4,
             "task.memory": 10, "model.units": 6}
    return BanditRecipe(EXPERIMENTS.resolve(name, seed, small | {
        k.replace("__", "."): v for k, v in overrides.items()}))


@pytest.mark.parametrize(("poisonous", "action", "luck", "expected"), [
    (0, EAT, 0.1, 5), (0, EAT, 0.9, 5), (1, EAT, 0.1, -35), (1, EAT, 0.9, 5),
    (0, LEAVE, 0.1, 0), (1, LEAVE, 0.9, 0)])
def test_rewards(poisonous, action, luck, expected):
    given = (torch.tensor([v]) for v in (poisonous, action, luck))
    assert reward(*given).item() == expected


def test_a_poisonous_mushroom_costs_fifteen_on_average():
    luck = torch.rand(100_000, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(100_000)
    assert reward(ones, torch.full_like(ones, EAT), luck).mean().item() == pytest.approx(
        -15, abs=0.3)
    assert oracle(torch.tensor([0, 1])).tolist() == [5, 0]


def test_contexts_are_features_and_one_of_k_action():
    x = contexts(torch.tensor([[7.0], [8.0]]))
    assert x.tolist() == [[7, 1, 0], [8, 1, 0], [7, 0, 1], [8, 0, 1]]


def test_memory_forgets_the_oldest():
    memory = Memory(2, 3)
    for k in range(4):
        memory.add(torch.tensor([k % 3]), torch.tensor([k, 10 * k]),
                   torch.tensor([float(k), -float(k)]))
    recalled = torch.randint(3, (2, 200), generator=torch.Generator().manual_seed(0))
    rows, rewards = memory.minibatches(recalled, 5)
    assert rows.shape == rewards.shape == (5, 2, 40)
    assert set(rows[:, 0].flatten().tolist()) == {1, 2, 3}
    assert set(rows[:, 1].flatten().tolist()) == {10, 20, 30}
    assert torch.equal(rewards[:, 1] * -10, rows[:, 1].float()), "rewards stay with their rows"


def test_a_young_memory_gives_only_what_it_holds(mushrooms):
    r = made(task__memory=5)
    recalled = [set(r.row(k)["recalled"].flatten().tolist()) for k in range(8)]
    assert recalled == [set(range(min(k + 1, 5))) for k in range(8)]
    assert [r.row(k)["slot"].item() for k in range(8)] == [0, 1, 2, 3, 4, 0, 1, 2]
    assert minibatches_held(1, 64) == 1 and minibatches_held(4096, 64) == 64


@pytest.mark.parametrize(("remembered", "batch", "count"), [
    (1, 4, 3), (6, 4, 7), (8, 4, 4), (9, 4, 5)])
def test_a_pass_meets_every_interaction_once(remembered, batch, count):
    slots = passes(remembered, batch, count, 3, torch.Generator().manual_seed(0))
    assert slots.shape == (3, count * batch)
    length = -(-remembered // batch) * batch
    for agent in slots.tolist():
        turns = [agent[k:k + length] for k in range(0, len(agent), length)]
        for turn in turns:
            assert turn[remembered:] == turn[:len(turn[remembered:])], "filled up from its start"
            assert len(set(turn[:remembered])) == len(turn[:remembered])
        assert len(turns) < 2 or remembered < 6 or turns[0] != turns[1], "a new order each time"
    assert remembered == 1 or not torch.equal(slots[0], slots[1]), "every agent its own"


@pytest.mark.parametrize(("scheme", "weight"), [
    ("uniform", lambda i, m: 1 / m), ("decreasing", lambda i, m: 2 ** (m - i) / (2**m - 1))])
def test_the_kl_term_counts_once_a_pass(mushrooms, scheme, weight):
    r = made(task__recall="passes", optim__kl=scheme, task__memory=21, task__updates=8)
    for step in range(24):
        row, n = r.row(step), min(step + 1, 21)
        m = -(-n // 8)
        assert row["π"].tolist() == pytest.approx([weight(k % m + 1, m) for k in range(8)])
        assert set(row["recalled"].flatten().tolist()) == set(range(n))


def test_updates_take_their_rate_and_their_weight(mushrooms, monkeypatch):
    r = made(task__recall="passes", optim__kl="decreasing", optim__lr=0.5, optim__milestones=[18])
    taken = []

    def learn(x, y, lr, π):
        taken.append((lr, float(π)))
        return y.mean()

    monkeypatch.setattr(r.model, "learn", learn)
    for step in range(20):
        r.step(step)
    assert [lr for lr, _ in taken] == pytest.approx([0.5] * 72 + [0.05] * 8)
    assert [π for _, π in taken[-4:]] == pytest.approx([2 / 3, 1 / 3] * 2)


def test_values_equal_a_network_of_torch_for_each_agent():
    torch.manual_seed(0)
    w = [torch.randn(2, 5, 4), torch.randn(2, 5, 1)]
    x = torch.randn(2, 7, 4)
    found = values(w, x)
    for s in range(2):
        network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
        with torch.no_grad():
            for linear, weight in zip(network[::2], w, strict=True):
                linear.weight.copy_(weight[s, :-1].T)
                linear.bias.copy_(weight[s, -1])
            torch.testing.assert_close(found[s], network(x[s])[:, 0])


@pytest.mark.parametrize("prior", [None, GaussianPrior(0.7), ScaleMixturePrior(0.25, 0.4, 0.05)])
@pytest.mark.parametrize("compiled", [False, True])
def test_learning_descends_the_objective_by_its_gradient(prior, compiled):
    agents = Agents(2, [4, 5, 1], prior, -1.0, 0.5, torch.Generator().manual_seed(0),
                    compiled).double()
    x, r = torch.randn(2, 6, 4).double(), torch.randn(2, 6).double()
    torch.manual_seed(1)
    ε = [e.clone() for e in agents.draw()]
    μ, ρ = ([p.detach().clone().requires_grad_() for p in ps] for ps in (agents.μ, agents.ρ))
    w = [m + F.softplus(p) * e for m, p, e in zip(μ, ρ, ε, strict=True)] if prior else μ
    f = ((values(w, x) - r) ** 2).sum() / (2 * 0.5**2)
    if prior:
        f = f + 0.3 * sum((gaussian_log_density(wi, m, F.softplus(p)) - prior.log_density(wi)).sum()
                          for wi, m, p in zip(w, μ, ρ, strict=True))
    f.backward()
    torch.manual_seed(1)
    agents.learn(x, r, 1e-2, 0.3)
    tolerance = dict(rtol=1e-6, atol=1e-9)  # lr and π come as float32
    for now, start in zip([*agents.μ, *agents.ρ], [*μ, *ρ], strict=True):
        torch.testing.assert_close(now.detach(), (start - 1e-2 * start.grad).detach(), **tolerance)


def test_expected_values_average_samples():
    agents = Agents(1, [4, 5, 1], GaussianPrior(1.0), -30.0, 1.0, torch.Generator().manual_seed(0))
    x = torch.randn(1, 3, 4)
    torch.testing.assert_close(agents.expected(x, 2), values(list(agents.μ), x), rtol=1e-4,
                               atol=1e-5)
    with torch.no_grad():
        for ρ in agents.ρ:
            ρ.fill_(0.0)
    assert not torch.equal(agents.expected(x, 2), agents.expected(x, 2)), "Thompson sampling"


@pytest.mark.parametrize("thompson", [1, 4])
def test_an_agent_acts_on_the_mean_of_its_sampled_networks(mushrooms, thompson):
    r = made(task__agents=1, task__thompson=thompson, model__rho=1.0)
    μ, σ = [m.detach() for m in r.model.μ], [F.softplus(ρ.detach()) for ρ in r.model.ρ]
    for k in range(40):
        met, total = torch.tensor([k]), torch.zeros(2)
        draw = torch.Generator().manual_seed(k)
        for _ in range(thompson):
            w = [(m + s * torch.randn(m.shape, generator=draw))[0]
                 for m, s in zip(μ, σ, strict=True)]
            for action in (EAT, LEAVE):
                h = torch.cat([r.features[k], F.one_hot(torch.tensor(action), 2)])
                for i, layer in enumerate(w):
                    h = F.linear(h.relu() if i else h, layer[:-1].T, layer[-1])
                total[action] += h.item()
        r.model.generator = torch.Generator().manual_seed(k)
        assert r.act(met).item() == total.argmax(), "of as many as the configuration says"


def test_every_arm_meets_the_same_mushrooms(mushrooms):
    for name in ("met", "chance", "recalled"):
        a, b = (r.row(3)[name] for r in (made(), made("bandit_5")))
        assert torch.equal(a, b)
    assert not torch.equal(made().row(3)["chance"], made(seed=1).row(3)["chance"])


def test_regret_adds_up(mushrooms, monkeypatch):
    r = made("bandit_greedy")
    monkeypatch.setattr(r, "act", lambda met: torch.full_like(met, LEAVE))
    expected = torch.zeros(3)
    for k in range(5):
        r.step(k)
        expected += 5.0 * (r.poisonous[r.row(k)["met"]] == 0)
    assert r.evaluate(5, False) == {"regret": pytest.approx(expected.mean().item())}
    assert r.evaluate(5, True)["regret_2"] == pytest.approx(expected[2].item())


def test_the_posteriors_width_is_measured(mushrooms):
    r = made(model__rho=-2.0)
    assert r.evaluate(0, True)["median_sigma"] == pytest.approx(math.log1p(math.exp(-2.0)))
    assert "median_sigma" not in made("bandit_greedy").evaluate(0, True)


def test_random_actions_come_at_their_rate(mushrooms, monkeypatch):
    r = made("bandit_5", task__epsilon=0.5, task__updates=1, task__agents=50)
    monkeypatch.setattr(r, "act", lambda met: torch.full_like(met, LEAVE))
    for k in range(40):
        r.step(k)
    eaten = (r.memory.rows < len(r.features)).double().mean().item()
    assert eaten == pytest.approx(0.25, abs=0.08), "half of the steps, and half of those eat"


@pytest.mark.parametrize("name", ["bandit_bbb", "bandit_greedy"])
def test_a_resumed_bandit_goes_on_alike(mushrooms, name):
    one, two = made(name), made(name)
    for k in range(12):
        one.step(k)
    state = copy.deepcopy(one.state())
    random = torch.get_rng_state()
    for k in range(12, 15):
        one.step(k)
    two.load_state(state)
    torch.set_rng_state(random)
    for k in range(12, 15):
        two.step(k)
    assert one.evaluate(15, True) == two.evaluate(15, True)
    for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_agents_learn_what_poisons(mushrooms):
    r = made(task__updates=32, task__memory=200, optim__lr=3e-4, model__units=20, model__rho=-5.0)
    for k in range(120):
        r.step(k)
    early = r.regret.mean().item()
    for k in range(120, 160):
        r.step(k)
    assert (r.regret.mean().item() - early) / 40 < 0.5 * early / 120


@pytest.mark.parametrize("arm", ["bbb", "greedy", "1", "5"])
def test_the_papers_values(arm):
    c = EXPERIMENTS.resolve(f"bandit_{arm}")
    assert (c.train.steps, c.train.batch_size, c.task.updates, c.task.memory) == (
        50_000, 64, 64, 4096)
    assert (c.model.units, c.task.agents, c.task.thompson) == (100, 5, 2)
    assert c.task.epsilon == {"1": 0.01, "5": 0.05}.get(arm, 0.0)
    assert c.model.arm == ("bbb" if arm == "bbb" else "sgd")


@pytest.mark.parametrize(("search", "seeds", "keys", "names"), [
    ("search_bandit_bbb", [100, 101], ["optim.lr", "model.rho"], ["bandit_bbb"]),
    ("search_bandit_greedy", [100, 101], ["optim.lr", "model.rho"],
     ["bandit_greedy", "bandit_1", "bandit_5"]),
    ("search_bandit_prior", [100], ["prior.minus_log_sigma1"], ["bandit_bbb"])])
def test_the_agents_have_what_the_search_says(search, seeds, keys, names):
    results = papers(["bayes_by_backprop"])[0].results
    searched = [results[n] for n in EXPERIMENTS.expand(search)]
    for runs in searched:
        assert [r.seed for r in runs] == seeds, "the same mushrooms for every setting"
    best = min(searched, key=lambda runs: sum(r.metrics["regret"] for r in runs))[0].config
    for name in names:
        c = OmegaConf.structured(EXPERIMENTS.resolve(name))
        assert [OmegaConf.select(c, k) for k in keys] == [best[k] for k in keys], name


def test_a_missing_file_of_mushrooms_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PAPERS_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"expected \$PAPERS_DATA to hold uci/mushroom/agaricus"):
        made()


@pytest.mark.parametrize("prior", [None, GaussianPrior(1.0)])
def test_an_interaction_on_a_device_waits_for_nothing(accelerator_without_float64, prior):
    d = accelerator_without_float64.device
    found = []
    for device in (torch.device("cpu"), d):
        agents = Agents(2, [5, 6, 1], prior, -3.0, 1.0, torch.Generator().manual_seed(0))
        agents.draw()  # on the CPU, to be forgotten when the network moves
        agents.to(device)
        use_generator(agents, torch.Generator(device=device).manual_seed(1))
        memory = Memory(2, 7).to(device)
        slot = torch.tensor([0]).to(device)
        recalled = torch.zeros(2, 8, dtype=torch.long).to(device)
        features = torch.eye(3).to(device)
        met, luck = torch.tensor([0, 2]).to(device), torch.tensor([0.1, 0.9]).to(device)
        poisonous = torch.tensor([1, 0]).to(device)
        with accelerator_without_float64.watch() as log:
            seen = contexts(features)
            both = torch.stack([seen[met], seen[met + 3]], 1)
            action = agents.expected(both, 2).argmax(1)
            memory.add(slot, action * 3 + met, reward(poisonous, action, luck))
            rows, rewards = memory.minibatches(recalled, 2)
            for r, y in zip(rows, rewards, strict=True):
                loss = agents.learn(seen[r], y, 0.01, 0.5)
        assert log.reads == log.uploads == log.scalars == log.mixed == []
        found.append([loss.item(), *(p.tolist() for p in agents.parameters())])
    assert found[0] == found[1]


def test_agents_draw_from_their_generator():
    agents = Agents(2, [5, 6, 1], GaussianPrior(1.0), -3.0, 1.0, torch.Generator().manual_seed(0))
    torch.manual_seed(5)
    by_default = [ε.clone() for ε in agents.draw()]
    agents.generator = torch.Generator().manual_seed(5)
    assert all(map(torch.equal, agents.draw(), by_default))
