"""Tracking: the metrics file is always right, Weights & Biases may fail."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.config import Config, TrackingConfig
from common.errors import UserError
from common.evidence import results
from common.training import tracking


def config(mode="disabled"):
    return Config(tracking=TrackingConfig(wandb=mode))


def test_lines_come_back(tmp_path):
    tracker = tracking.Tracker(tmp_path, config(), 0, "t")
    tracker.log(1, loss=0.5)
    tracker.log(2, loss=0.25, lr=1.0)
    tracker.close()
    assert tracking.read(tmp_path) == [{"step": 1, "loss": 0.5},
                                       {"step": 2, "loss": 0.25, "lr": 1.0}]


def test_resuming_removes_what_came_after_and_half_lines(tmp_path):
    (tmp_path / tracking.FILE).write_text('{"step": 1}\n{"step": 5}\n{"step": 6, "lo')
    tracker = tracking.Tracker(tmp_path, config(), 1, "t")
    tracker.log(2, loss=1.0)
    tracker.close()
    assert [json.loads(t)["step"] for t in (tmp_path / tracking.FILE).read_text().splitlines()
            ] == [1, 2]


def test_only_the_evaluation_that_is_made_again_is_removed(tmp_path):
    lines = [{"step": 1, "loss": 1.0}, {"step": 1, "eval/error": 0.9},
             {"step": 2, "loss": 0.5}, {"step": 2, "eval/error": 0.8}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    for evaluated, kept in ((True, lines), (False, lines[:3])):
        (tmp_path / tracking.FILE).write_text(text)
        tracking.Tracker(tmp_path, config(), 2, "t", evaluated=evaluated).close()
        assert tracking.read(tmp_path) == kept


@pytest.mark.parametrize(("line", "message"), [
    ("[]", "[]: expected a mapping"), ("3", "3: expected a mapping"),
    ("null", "None: expected a mapping"),
    ('{"loss": 1.0}', "expected 'step'"), ('{"step": "two"}', "step: 'two': expected a whole"),
    ('{"step": true}', "step: True: expected a whole"), ('{"step": -1}', "expected at least 0"),
    ('{"step": 2, "loss": "low"}', "expected a number"), ('{"step": 2, "loss": []}', "a number"),
    ('{"step": 2, "loss": NaN}', "loss: nan: expected a number"),
    ('{"step": 2, "eval/error": NaN}', "eval/error: nan: expected a number"),
    ('{"step": 2, "eval/error": "low"}', "eval/error: 'low': expected a number"),
    ('{"step": 2, "eval/error": {}}', "eval/error: '{}': expected a number")])
def test_a_line_that_is_no_measurement_is_named(tmp_path, line, message):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n' + line + "\n",
                                            encoding="utf-8")
    with pytest.raises(UserError) as e:
        tracking.read(tmp_path, until=1)
    assert "metrics.jsonl, line 2: " in str(e.value) and message in str(e.value)
    assert "\n" not in str(e.value) and str(e.value).endswith("add fresh=true to start anew")


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60))
def test_whatever_bytes_stand_in_the_file_it_is_read_or_one_line(content):
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "metrics.jsonl").write_bytes(b'{"step": 1, "loss": 2.0}\n' + content)
        try:
            found = tracking.read(Path(name))
        except UserError as e:
            assert len(str(e).splitlines()) == 1
        else:
            results.curves(found)


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_wandb_works_without_account_and_network(tmp_path, mode, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))  # no login of the person who runs the tests
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    tracker = tracking.Tracker(tmp_path, config(mode), 0, "t")
    tracker.log(1, loss=0.5)
    tracker.close()
    assert tracking.read(tmp_path) == [{"step": 1, "loss": 0.5}]
    assert list((tmp_path / "wandb").glob("offline-run-*"))


def test_a_failing_wandb_never_stops_a_run(tmp_path, monkeypatch, capsys):
    import wandb

    monkeypatch.setattr(wandb, "init", lambda **k: 1 / 0)
    tracker = tracking.Tracker(tmp_path, config("offline"), 0, "t")
    tracker.log(1, loss=0.5)
    tracker.close()
    assert "Weights & Biases is off" in capsys.readouterr().err
    assert len(tracking.read(tmp_path)) == 1
