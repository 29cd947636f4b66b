"""README says what the results say: every number of "what batch size does" is computed here."""

from statistics import mean

import pytest

from common.evidence.paper import papers
from common.files import ROOT

(PAPER,) = papers(["large_batch"])
README = " ".join((ROOT / "papers/large_batch/README.md").read_text().split())


def of(experiment, metric):
    return {r.seed: r.at(metric, None) for r in PAPER.results.get(experiment, [])}


def both(one, other, metric, combine):
    """What two experiments' runs of one seed make together, for every seed that both have."""
    a, b = of(one, metric), of(other, metric)
    return [combine(a[k], b[k]) for k in sorted(a.keys() & b.keys())]


def over(one, other, metric):
    return both(one, other, metric, lambda a, b: a / b)


def moving(arm, ε):
    """How many times sharper by moving averages, in the full space."""
    by = [of(arm, f"sharpness_full_{ε}_{mode}") for mode in ("moving", "batch")]
    return [by[0][k] / by[1][k] for k in sorted(by[0])]


def points(one, other):
    """The mean gain in test accuracy by moving averages, in points."""
    return number(mean(both(one, other, "accuracy", lambda a, b: 100 * (a - b))))


def number(x, digits=1):
    return f"{x:.{digits}f}".replace("-", "−")


def span(values, digits=0):
    return f"{number(min(values), digits)} to {number(max(values), digits)}"


def sentences():
    small, large = ("f1_sb", "f1_lb")
    accuracy = {a: 100 * mean(of(a, "train_accuracy_batch").values()) for a in (small, large)}
    loss = {a: mean(of(a, "train_loss_batch").values()) for a in (small, large)}
    *gaps, last = both(small, large, "accuracy_batch", lambda a, b: number(100 * (a - b)))
    beyond = 100 * mean(of(large, "line_train_accuracy_18").values())
    box = {a: of(a, "sharpness_full_0.001_batch").values() for a in (small, large)}
    yield f"({accuracy[large]:.1f} % against {accuracy[small]:.1f} %"
    assert round(loss[small] / loss[large]) == 18
    yield "an eighteenth of the loss"
    yield f"small less large is {', '.join(gaps)} and {last} points"
    yield f"the network has {beyond:.0f} % of its training images right, where it had all"
    assert min(of(large, "line_train_accuracy_16").values()) == 1
    yield f"can rise by {span(box[small])} % of 1 + f there, by {span(box[large])} % here"
    yield (f"in the box of ε = 10⁻³ the large batches' {span(moving(large, '0.001'))} times, the "
           f"small ones' {span(moving(small, '0.001'))} times")
    yield (f"at 5·10⁻⁴ {span(moving(large, '0.0005'))} and {span(moving(small, '0.0005'))} times")
    for ε, begins in (("0.001", "In random directions the large batches' is "), ("0.0005", "")):
        by = {m: span(over(large, small, f"sharpness_random_{ε}_{m}"), 1)
              for m in ("batch", "moving")}
        yield begins + f"{by['batch']} times"
        yield f"({by['moving']} by moving averages)"
    by = {m: over(large, small, f"eigenvalue_{m}") for m in ("batch", "moving")}
    assert max(by["batch"]) < 1
    yield (f"smaller after large batches in all five pairs, {span(by['batch'], 2)} of the other's; "
           f"by moving averages {span(by['moving'], 2)}")
    assert 4.6 < mean(over(small, large, "distance")) < 5
    yield "almost five times farther"
    yield f"batches of 4,096 lose {points('hoffer_sb', 'hoffer_lb')} points to batches of 128"
    ends = {a: number(100 * mean(of(a, "accuracy_batch").values()))
            for a in (small, large, "hoffer_sb", "hoffer_lb")}
    yield f"the large ones end at {ends['hoffer_lb']} %, where Adam's had {ends[large]}"
    yield f"the small ones at {ends['hoffer_sb']}, where Adam's had {ends[small]}"
    fitted = {number(100 * mean(of(a, "train_accuracy").values()))
              for a in ("hoffer_sb", "hoffer_lb")}
    yield f"Both fit {fitted.pop()} % of the training images"
    assert not fitted
    yield f"They end {number(mean(over('hoffer_sb', 'hoffer_lb', 'distance')))} times farther"
    yield f"A rate times √32 gains {points('hoffer_lr', 'hoffer_lb')} points at no cost"
    yield f"ghosts of 128 add {points('hoffer_gbn', 'hoffer_lr')}, in each of three runs"
    for more, less in (("hoffer_lr", "hoffer_lb"), ("hoffer_gbn", "hoffer_lr")):
        gains = both(more, less, "accuracy", lambda a, b: a - b)
        assert len(gains) == 3 and min(gains) > 0
    yield f"{points('hoffer_sb', 'hoffer_gbn')} are left. With that rate"
    far = {a: number(mean(of(a, "distance").values()), 0) for a in ("hoffer_lr", "hoffer_sb")}
    yield f"walk almost as far as small ones, {far['hoffer_lr']} against {far['hoffer_sb']}"
    if not of("hoffer_ra", "accuracy"):
        yield "As many updates as the small batches had have not been run with all images"
    runs = len(both("tenth_lb", "tenth_sb", "accuracy", max))
    yield "(one run)" if runs == 1 else f"(mean of {runs} runs)"
    yield f"batches of 1,024 lose {points('tenth_sb', 'tenth_lb')} points"
    yield f"A rate times √8 gains {points('tenth_lr', 'tenth_lb')}"
    yield f"ghosts of 128 add {points('tenth_gbn', 'tenth_lr')}"
    if of("tenth_ra", "accuracy"):
        yield f"as many updates as the small batches had add {points('tenth_ra', 'tenth_gbn')}"
    else:
        yield "As many updates as the small batches had, Hoffer et al.'s answer, has not been run"


@pytest.mark.parametrize("sentence", sentences())
def test_readme_says_what_the_results_say(sentence):
    assert sentence in README
