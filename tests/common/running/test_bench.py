"""The benchmark's arithmetic; speeds themselves are never tested."""

import time

import pytest

from common import data
from common.errors import UserError
from common.running.bench import Contender, compare, main, show, stand_in


def test_contenders_take_turns_and_ratios_are_to_the_first():
    calls = []
    pair = [Contender("slow", lambda: (calls.append("s"), time.sleep(0.02)), 10),
            Contender("fast", lambda: (calls.append("f"), time.sleep(0.002)), 10, "images")]
    rates = compare(pair, 3)
    assert "".join(calls) == "sf" + "sf" + "fs" + "sf", "warm-up, then every other in reverse"
    text = show(pair, [[10.0, 20.0, 30.0], [20.0, 40.0, 30.0]])
    assert "2.00   1.00 … 2.00  (images)" in text and "1.00   1.00 … 1.00  (steps)" in text
    assert len(rates[0]) == 3 and min(rates[1]) > max(rates[0])


@pytest.mark.parametrize(("words", "message"), [
    (["nopaper"], "unknown paper"), (["batchnorm", "block=3"], "did you mean 'blocks'"),
    (["batchnorm", "blocks=0"], "blocks=0: expected"),
    (["batchnorm", "blocks="], "blocks=: expected"), (["batchnorm", "blocks=²"], "blocks=²: "),
    (["batchnorm", "blocks=true"], "blocks=true: expected a whole number")])
def test_bad_words(words, message):
    with pytest.raises(UserError, match=message):
        main(words)


def test_a_stand_in_takes_the_place_of_every_data_set_for_a_while():
    before = data.load
    with stand_in((3, 4, 4), n=20) as split:
        made = data.load("cifar10")
        assert made.train is split and split.images.shape == (20, 3, 4, 4)
    assert data.load is before
