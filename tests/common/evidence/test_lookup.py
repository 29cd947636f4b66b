"""A name that a file lacks, and where an exception arose."""

import pytest

from common.errors import UserError
from common.evidence.lookup import FAULTS, Lookup, located


@pytest.mark.parametrize(("name", "near"), [("eror", "; did you mean 'error'"), ("zzz", "")])
def test_a_name_that_is_not_there_ends_in_one_line(name, near):
    found = Lookup({"error": 1.0, "loss": 2.0}, "result a.json", "metric")
    assert found["error"] == 1.0 and found.get(name) is None and name not in found
    with pytest.raises(UserError) as e:
        found[name]
    assert str(e.value).startswith(f"result a.json has no metric {name!r}{near}")


@pytest.mark.parametrize(("wrong", "said"), [
    (lambda: {}["x"], "KeyError 'x'"), (lambda: 1 / 0, "ZeroDivisionError division by zero"),
    (lambda: next(iter(())), "StopIteration"), (lambda: float("a\nb"), "ValueError could not"),
    (lambda: [][3], "IndexError list index out of range")])
def test_an_exception_is_told_with_its_place(wrong, said):
    with pytest.raises(FAULTS) as e:
        wrong()
    told = located(e.value)
    assert told.startswith(said) and told.endswith(")") and "\n" not in told
    assert f"(test_lookup.py, line {wrong.__code__.co_firstlineno})" in told


def test_a_file_that_is_no_python_is_told_by_its_own_place():
    with pytest.raises(SyntaxError) as e:
        compile("a = (", "facts.py", "exec")
    assert located(e.value) == "SyntaxError '(' was never closed (facts.py, line 1)"
