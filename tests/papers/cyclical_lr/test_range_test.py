"""The rule that names the edges, on curves whose edges are known, and the command that draws."""

import json
import math

import numpy as np
import pytest

from common.errors import UserError
from common.files import ROOT
from papers.cyclical_lr.range_test import edges, main

RATES = np.linspace(0.001, 0.04, 40)


def ramp(start, end, low=10.0, high=70.0):
    """Flat, then a straight rise between two evaluations, then flat."""
    return low + (high - low) * np.clip((np.arange(40) - start) / (end - start), 0, 1)


def test_the_edges_of_a_straight_rise():
    lower, upper = edges(RATES, ramp(10, 30))
    assert lower == pytest.approx(RATES[11])  # a twentieth of the rise
    assert upper == pytest.approx(RATES[29])  # nineteen twentieths


def test_units_do_not_matter():
    assert edges(RATES, ramp(10, 30)) == edges(RATES, ramp(10, 30) / 100)


def test_the_upper_edge_is_before_the_first_ragged_place():
    a = ramp(10, 30)
    a[24] = a[23] - 0.15 * 60
    assert edges(RATES, a)[1] == pytest.approx(RATES[23])


def test_small_dents_and_those_of_the_first_half_are_not_ragged():
    a = ramp(10, 30)
    a[24] = a[23] - 0.05 * 60
    a[15] = a[14] - 0.15 * 60
    assert edges(RATES, a) == edges(RATES, ramp(10, 30))


def test_a_fall_behind_the_rise_changes_nothing():
    a = ramp(10, 20)
    a[30:] = 5.0  # below where it began
    assert edges(RATES, a) == pytest.approx((RATES[11], RATES[19]), rel=0.1)


def test_it_starts_at_once_where_the_first_accuracy_is_on_its_way():
    assert edges(RATES, ramp(0, 10))[0] <= RATES[1]


@pytest.mark.parametrize("curve", [np.full(40, 10.0), np.linspace(70, 10, 40)])
def test_nothing_that_rises_has_edges(curve):
    assert edges(RATES, curve) is None


def test_too_few_evaluations_have_none():
    assert edges(RATES[:4], ramp(0, 3)[:4]) is None


CURVES = {"rate": [list(range(40)), RATES.tolist()],
          "accuracy": [list(range(40)), ramp(10, 30).tolist()]}


def result(folder, **changed):
    """Write the result of a range test, with some parts changed; returns its path."""
    recorded = ROOT / "papers/cyclical_lr/results/range_test/seed0.json"
    record = json.loads(recorded.read_text(encoding="utf-8")) | {"curves": CURVES} | changed
    (folder / "result.json").write_text(json.dumps(record), encoding="utf-8")
    return folder / "result.json"


def test_the_command_names_and_draws_them(tmp_path, capsys):
    result(tmp_path)
    assert main([str(tmp_path)]) == 0
    assert "schedule.base_lr=0.012 schedule.max_lr=0.03\n" in capsys.readouterr().out
    assert (tmp_path / "range_test.png").stat().st_size > 1000


@pytest.mark.parametrize("curves", [
    {"accuracy": [[1], [2.0]]}, {}, {"rate": [[], []], "accuracy": [[], []]},
    {"rate": [[1, 2], [0.1, 0.2]], "accuracy": [[1, 3], [0.1, 0.2]]},
    {"rate": [[1], [0.1]], "accuracy": [[1, 2], [0.1, 0.2]]},
    CURVES | {"rate": [list(range(40)), [math.nan] * 40]},
    CURVES | {"accuracy": [list(range(40)), [math.inf] * 40]}])
def test_another_run_is_one_line(tmp_path, curves):
    path = result(tmp_path, curves=curves)
    for word in (str(tmp_path), str(path)):
        with pytest.raises(UserError, match=r"folder of a finished run with|is damaged: curves"):
            main([word])


@pytest.mark.parametrize("curves", [
    [], 3, {"rate": "12345"}, {"rate": [[1], [[0.1], [2]]]}, {"rate": [[1, 2], ["1", "٣"]]},
    {"rate": [[1, 2], [True, False]]}, {"rate": [[1, 2], [0.1]]}])
def test_a_damaged_result_is_one_line(tmp_path, curves):
    with pytest.raises(UserError, match=r"is damaged: .*curves.*: .*expected"):
        main([str(result(tmp_path, curves=curves))])


@pytest.mark.parametrize("content", [b"", b"\x00", b"[]", b"[" * 100_000, b"\xef\xbb\xbf{}",
                                     b"\xe9"])
def test_what_is_no_result_is_one_line(tmp_path, content):
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(UserError, match="is damaged") as e:
        main([str(tmp_path)])
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["", "nothing", "loop", "empty", "\x1b[31m", "a\x00b", "x" * 300])
def test_where_no_result_is_is_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "empty/result.json").mkdir(parents=True)
    with pytest.raises((UserError, OSError)) as e:
        main([name])
    assert "expected the folder of a finished run" in str(e.value) or e.value.filename


def test_an_accuracy_that_falls_first_has_not_started_to_rise():
    a = np.array([20, 12, 10, 10, 10, 11, 30, 50, 60, 60, 60, 60])
    rates = np.arange(1, 13) / 1000
    assert edges(rates, a)[0] == pytest.approx(0.006)


@pytest.mark.parametrize("argv", [[], ["a", "b"]])
def test_another_number_of_arguments_is_one_line(argv):
    with pytest.raises(UserError, match="expected one, the folder of a finished range test"):
        main(argv)
