"""Parameters of which a plain pytest tries a few, and CI all."""

import pytest


def few_of(values, *plain):
    """The values as a test's parameters; all but the plain ones are marked slow."""
    assert set(plain) <= set(values), "a name that is not there would leave all to CI"
    return [pytest.param(v, marks=[pytest.mark.slow] * (v not in plain)) for v in values]
