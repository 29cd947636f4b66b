"""How sure a shipped network is, against a computation by hand, and what is kept of it."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from common.config import as_dict
from common.evidence.paper import papers
from common.files import ROOT
from common.running import command, ready, sure


@pytest.fixture
def source(tmp_path, monkeypatch, request):
    """Weights of a paper's quick experiment after 30 updates, with what says so; the recipe."""
    name, experiment = request.param
    (found,) = papers([name])
    config = found.experiments.resolve(experiment, 0)
    recipe = found.module("train").recipe(config)
    for k in range(30):
        recipe.step(k)
    for module in (ready, ready.start, sure):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    path = tmp_path / f"papers/{name}/weights/n.safetensors"
    path.parent.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in recipe.model.state_dict().items()}, path)
    path.with_suffix(".json").write_text(json.dumps(
        {"experiment": experiment, "seed": 0, "config": as_dict(config)}))
    return str(path), recipe


def by_bins(p, labels):
    """The expected calibration error, bin by bin."""
    confidence, answer = p.max(1)
    found = 0.0
    for k in range(15):
        here = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if here.any():
            gap = confidence[here].mean() - (answer == labels)[here].double().mean()
            found += here.double().mean().item() * gap.abs().item()
    return found


@pytest.mark.parametrize("source", [("initialisation", "quick_train")], indirect=True)
def test_one_network_by_hand(source):
    path, recipe = source
    found = sure.measure(path)
    assert found.ways.drawn is None, "nothing is random in it"
    test, m = recipe.data.test, found.ways.one
    z = recipe.predict(recipe.prepare(test.images)).double()
    assert m.error == pytest.approx(100 * (z.argmax(1) != test.labels).double().mean().item())
    assert m.nll == pytest.approx(F.cross_entropy(z, test.labels).item(), rel=1e-4)
    assert m.confidence == pytest.approx(z.softmax(1).max(1).values.mean().item(), rel=1e-4)
    turned = recipe.predict(recipe.prepare(test.images.rot90(1, (2, 3)))).double()
    for name, logits in (("entropy", z), ("turned", turned)):
        by_torch = torch.distributions.Categorical(logits=logits).entropy().mean().item()
        assert getattr(m, name) == pytest.approx(by_torch, rel=1e-4)
    assert found.images == len(test) and found.data == "digits"


@pytest.mark.parametrize("source", [("dropout", "quick_dropout"),
                                    ("bayes_by_backprop", "quick_bbb")], indirect=True)
def test_drawn_networks_stand_beside_the_one(source, capsys):
    path, recipe = source
    assert command.main(["export", path, "sure=true", "record=true"]) == 0
    out = capsys.readouterr().out
    (found,) = sure.recorded()
    assert sure.table([found]) in out and f"{sure.FOLDER}/n.json" in out
    one, drawn = found.ways.one, found.ways.drawn
    torch.manual_seed(0)
    test = recipe.data.test
    p = recipe.probabilities(recipe.prepare(test.images), sure.SAMPLES).mean(0)
    assert drawn.nll == pytest.approx(F.nll_loss(p.log(), test.labels).item(), rel=1e-4)
    entropy = torch.distributions.Categorical(probs=p.double()).entropy().mean().item()
    assert drawn.entropy == pytest.approx(entropy, rel=1e-4) and entropy != one.entropy
    assert drawn.error == pytest.approx(
        100 * (p.argmax(1) != test.labels).double().mean().item())
    assert drawn.confidence == pytest.approx(p.max(1).values.mean().item(), rel=1e-4)
    assert drawn.ece == pytest.approx(by_bins(p, test.labels), rel=1e-3)
    far = recipe.probabilities(recipe.prepare(test.images.rot90(1, (2, 3))), sure.SAMPLES).mean(0)
    entropy = torch.distributions.Categorical(probs=far.double()).entropy().mean().item()
    assert drawn.turned == pytest.approx(entropy, rel=1e-4)
    rows = [[c.strip() for c in line.split("|")[1:-1]]
            for line in sure.table([found]).splitlines()]
    assert len(rows) == 4 and {len(r) for r in rows} == {len(sure.HEAD)}
    assert [r[1] for r in rows[2:]] == list(sure.WAYS.values())


def test_the_pages_table_is_what_was_kept():
    kept = sure.recorded()
    assert kept and sure.table(kept) in (ROOT / "papers/STUDY.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("old", "new", "message"), [
    ('"images": 10000', '"images": 0', "images: 0: expected above 0"),
    ('"one"', '"two"', "unknown part 'ways.two'"), ('"nll"', '"nl"', "unknown part 'ways.one.nl'"),
    ('"data": "', '"data": 3, "x": "', "data: 3: expected text")])
def test_a_damaged_file_is_one_line(refused, old, new, message):
    source = next((ROOT / "papers").glob(f"*/{sure.FOLDER}/*.json"))
    assert message in refused(sure, source, old, new)
