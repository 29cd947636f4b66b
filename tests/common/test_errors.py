"""The one line that bad input ends with."""

import pytest

from common.errors import UserError, exit_with, nearest


def test_a_user_error_is_one_line_and_status_2(capsys):
    def fail():
        raise UserError("key 'x': expected y")
    with pytest.raises(SystemExit) as e:
        exit_with(fail)
    assert e.value.code == 2 and capsys.readouterr().err == "error: key 'x': expected y\n"


def test_other_errors_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_with(lambda: 1 / 0)


def test_ctrl_c_says_how_to_go_on(capsys):
    def interrupt():
        raise KeyboardInterrupt
    with pytest.raises(SystemExit) as e:
        exit_with(interrupt)
    assert e.value.code == 130 and "continues" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "expected"), [
    ("train.stpes", "did you mean 'train.steps'"), ("stpes", "did you mean 'train.steps'"),
    ("zzzzzz", "known: optim.lr, train.steps")])
def test_nearest(name, expected):
    assert expected in nearest(name, ["train.steps", "optim.lr"])


def test_nearest_of_many_says_what_they_look_like():
    many = [f"run_{k:02}" for k in range(50)]
    assert nearest("zzz", many) == "; expected one of 50 names such as 'run_00' or 'run_49'"
    assert nearest("nope", ["hopfield", "lbfgs"]) == "; known: hopfield, lbfgs"
