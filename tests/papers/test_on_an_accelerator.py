"""Every recipe trains and is evaluated on a device that is not a CPU, and its updates wait for
nothing."""

import importlib

import pytest

from common.experiments import Experiments
from common.files import ROOT
from common.training.recipe import Planned
from common.training.steps import InBlocks, OneByOne

SMALL = {
    "airbench": {
        "quick_sgd": {"model.widths": [4, 6, 6], "train.batch_size": 8},
        "quick_sgd late": {"model.widths": [4, 6, 6], "train.batch_size": 400,
                           "optim.lookahead": "late", "model.first": "learned"},
        "quick_muon": {"model.widths": [4, 6, 6], "train.batch_size": 8}},
    "batchnorm": {"quick_bn": {"model.population_batches": 3}, "quick_plain": {}},
    "backprop": {"symmetry": {"model.networks": 4}, "xor_hidden_2": {"model.networks": 4},
                 "quick": {}},
    "bayes_by_backprop": {
        "quick_bbb": {"measure.samples": 2}, "quick_sgd": {},
        "quick_sgd dropout": {"model.arm": "dropout"},
        "quick_bbb mixture": {"measure.samples": 2, "prior.kind": "mixture"},
        "quick_bbb autograd": {"measure.samples": 2, "optim.fast": False},
        # Adam is torch's own, and knows on a CUDA card alone how not to wait
        "regression_bbb": {"measure.samples": 2, "optim.rule": "sgd"},
        "regression_sgd": {"measure.samples": 2, "optim.rule": "sgd"}},
    "cyclical_lr": {
        "quick_range_test": {}, "quick_triangular2": {"model.lrn": False},
        **{f"quick_triangular2 {solver}": {"optim.solver": solver}
           for solver in ("nesterov", "adam", "rmsprop", "adagrad", "adadelta")}},
    # Adam is torch's own in tickets, too
    "deep_compression": {
        "quick_reference": {"model.hidden": [6, 5]},
        "quick_pruned": {"model.hidden": [6, 5]},
        "quick_compressed": {"model.hidden": [6, 5]}},
    "deep_linear": {"quick_modes": {}, "random": {}, "product_gaussian": {"model.width": 6},
                    "chaos_1.5": {"model.width": 6},
                    "quick_sweep": {"sweep.depths": [3, 4, 5], "train.steps": 3,
                                    "sweep.budget": 5}},
    "distillation": {
        "quick_teacher": {"model.hidden": [6, 6]}, "quick_hard": {"model.hidden": [6]},
        "quick_soft": {"model.hidden": [6], "transfer.digits": [7, 8], "measure.classes": [7, 8]}},
    "dropout": {
        "quick_dropout": {"regulariser.max_norm": 1.0, "measure.samples": [1, 3],
                          "measure.repeats": 2},
        "quick_dropout gaussian": {"model.noise": "gaussian", "regulariser.l1": 1e-4,
                                   "regulariser.kl": 1e-3, "regulariser.l2": 1e-4},
        "quick_dropout inverted": {"model.noise": "inverted"}},
    "filter_pruning": {
        "quick_whole": {"train.batch_size": 8}, "quick_smallest": {"train.batch_size": 8},
        "quick_whole vgg": {"model.kind": "vgg16", "model.width": 2, "train.batch_size": 8,
                            "plan.shares": [0.5, 0.0, 0.0, 0.5, 0.5]},
        "quick_sensitivity": {"view.images": 40}},
    "hopfield": {"quick": {}, "load_500": {"model.neurons": 40, "start.trials": 3},
                 "recall_30_0.3": {"start.repeats": 2}, "random_30": {"start.trials": 4}},
    "initialisation": {
        "quick_train": {"model.width": 6}, "quick_layers": {"model.width": 6},
        "start_selu_high": {"model.width": 6, "model.depth": 3},
        "convolutions_0.01": {"model.width": 2, "measure.examples": 2},
        "surface": {"train.steps": 3, "measure.points": 5}},
    # Adam is torch's own here, too
    "large_batch": {
        "quick_sb": {"optim.rule": "sgd", "optim.milestones": [1], "measure.products": 2},
        "quick_sb ghosts": {"optim.rule": "sgd", "model.ghost": 8, "measure.images": 0},
        "quick_sb c1": {"optim.rule": "sgd", "model.network": "c1", "measure.images": 0}},
    "loss_landscape": {
        "quick_train": {"model.hidden": [6], "view.images": 40, "view.points": 3},
        "quick_train straight": {"model.hidden": [6], "view.images": 40, "view.points": 3,
                                 "model.bn": False, "model.activation": "maxout"},
        "quick_surface": {"view.images": 40}, "quick_curvature": {"view.images": 40},
        "surface_resnet20": {"data.name": "digits", "model.depth": 8, "view.images": 40}},
    "resnet": {"quick": {"model.depth": 8, "train.batch_size": 8, "augment.flip": True},
               "quick warming": {"model.depth": 8, "train.batch_size": 8,
                                 "optim.warm_up_lr": 0.01}},
    "warm_start": {"quick_random": {"model.hidden": [6]}, "quick_warm": {"model.hidden": []},
                   "quick_random resnet": {"model.kind": "resnet18", "optim.rule": "sgd",
                                           "phase.share": 0.04, "phase.seen": 0.02}},
}
"""Each paper's branches: an experiment, a word for what is changed in it, and the changes."""

STEPS = 3


def recipe_of(paper, name, device, changes):
    module = importlib.import_module(f"papers.{paper}.train")
    known = Experiments(module.Config, ROOT / "papers" / paper / "config.yaml")
    single = known.expand(name.split()[0])[0]
    config = known.resolve(single, 0, changes | {
        "train.device": str(device), "train.threads": 1})
    make = getattr(module, "recipe", None) or next(
        v for k, v in vars(module).items()
        if k.endswith("Recipe") and v.__module__ == module.__name__)
    return make(config)


CASES = [pytest.param(paper, name, marks=[pytest.mark.slow] * (name != next(iter(names))))
         for paper, names in SMALL.items() for name in names]
"""Every kind of recipe; a plain pytest tries each paper's first one."""


@pytest.mark.parametrize(("paper", "name"), CASES, ids=lambda v: v.replace(" ", "_"))
def test_every_recipe_takes_steps_and_its_final_evaluation(accelerator, paper, name):
    made = recipe_of(paper, name, accelerator.device, SMALL[paper][name])
    made.block = 2
    made.train_mode()
    steps = InBlocks(made, STEPS) if isinstance(made, Planned) and type(
        made).step is Planned.step else OneByOne(made)
    list(steps.take(0, STEPS))
    losses = steps.losses()
    assert len(losses) == STEPS
    metrics = made.evaluate(STEPS, True)
    assert metrics and all(isinstance(v, float) for v in metrics.values())
    on_cpu = recipe_of(paper, name, "cpu", SMALL[paper][name])
    assert on_cpu.evaluate(0, False).keys() <= metrics.keys()
    state = made.state()
    again = recipe_of(paper, name, accelerator.device, SMALL[paper][name])
    again.load_state(state)


@pytest.mark.parametrize(("paper", "name"), CASES, ids=lambda v: v.replace(" ", "_"))
def test_an_update_never_waits_for_the_host(accelerator, paper, name):
    made = recipe_of(paper, name, accelerator.device, SMALL[paper][name])
    if not isinstance(made, Planned) or type(made).step is not Planned.step or not made.steady:
        pytest.skip("its steps are taken one by one")
    made.train_mode()
    rows = [made.row_here(k) for k in range(STEPS)]
    made.update(rows[0])  # optimisers make their state
    with accelerator.watch() as log:
        for row in rows[1:]:
            made.update(row)
    assert log.reads == log.uploads == log.mixed == []
    assert log.scalars == [], "a captured step would repeat them for ever"
