"""The notebook as a page of the site."""

import shutil
import sys

import pytest

from common.errors import UserError
from common.running.site import steps


def test_a_notebook_that_cannot_be_executed_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with steps.executing(tmp_path) as ended, pytest.raises(UserError, match="not be executed"):
        ended()
