"""Checkpoints: what goes in comes out, and damage is recognised."""

import os
import random
from collections import Counter

import numpy as np
import pytest
import torch

from common.errors import UserError
from common.training import checkpoint

STATE = {"step": 3, "x": torch.arange(6.0).reshape(2, 3), "none": None, "flag": True,
         "nested": {0: [torch.zeros(0), torch.tensor(2, dtype=torch.int64)], "π": 3.5},
         "milestones": Counter({15: 1})}


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b) and a.dtype == b.dtype and a.stride() == b.stride()
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a) and (
            type(a) is type(b))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def test_round_trip(tmp_path):
    checkpoint.save(tmp_path, STATE)
    assert equal(checkpoint.load(tmp_path), STATE)


def test_memory_format_is_kept(tmp_path):
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    checkpoint.save(tmp_path, {"x": x})
    assert equal(checkpoint.load(tmp_path), {"x": x})


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoint.load(tmp_path) is None


@pytest.mark.parametrize("damage", [
    lambda b: b[:len(b) // 2], lambda b: b"", lambda b: b[:-4] + b"\1\2\3\4",
    lambda b: b.replace(b"step", b"stop")], ids=["cut", "empty", "altered tensor", "altered text"])
def test_a_damaged_checkpoint_is_recognised_and_the_previous_one_used(tmp_path, damage, capsys):
    checkpoint.save(tmp_path, STATE | {"step": 1})
    checkpoint.save(tmp_path, STATE | {"step": 2})
    newest = tmp_path / checkpoint.NAME
    newest.write_bytes(damage(newest.read_bytes()))
    assert checkpoint.load(tmp_path)["step"] == 1
    assert "damaged" in capsys.readouterr().err


def folder_there(path):
    path.unlink()
    path.mkdir()


def link_to_nothing(path):
    path.unlink()
    path.symlink_to(path.parent / "unmounted" / path.name)


def link_in_a_circle(path):
    path.unlink()
    path.symlink_to(path.name)


def no_permission(path):
    path.chmod(0)


@pytest.mark.parametrize("refused", [folder_there, link_to_nothing, link_in_a_circle, pytest.param(
    no_permission, marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may read all"))])
@pytest.mark.parametrize("name", [checkpoint.NAME, checkpoint.PREVIOUS])
def test_a_checkpoint_that_the_system_refuses_is_not_replaced(tmp_path, refused, name, capsys):
    """Its permission may be wrong, its drive away: a run that began anew would lose it."""
    checkpoint.save(tmp_path, STATE | {"step": 1})
    os.replace(tmp_path / checkpoint.NAME, tmp_path / name)
    refused(tmp_path / name)
    with pytest.raises(UserError, match=f"cannot read checkpoint .*{name}: .*fresh=true"):
        checkpoint.load(tmp_path)
    assert not capsys.readouterr().err and tmp_path / name not in checkpoint.DAMAGED


def test_a_kill_between_the_renames_leaves_the_previous_one(tmp_path):
    checkpoint.save(tmp_path, STATE | {"step": 1})
    (tmp_path / checkpoint.NAME).rename(tmp_path / checkpoint.PREVIOUS)
    assert checkpoint.load(tmp_path)["step"] == 1


def test_a_failed_write_keeps_the_old_one(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, STATE | {"step": 1})

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(UserError, match="No space left on device"):
        checkpoint.save(tmp_path, STATE | {"step": 2})
    assert checkpoint.load(tmp_path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.NAME]


def test_state_that_cannot_be_stored_is_named(tmp_path):
    with pytest.raises((TypeError, UserError), match="/a/b is a function"):
        checkpoint.save(tmp_path, {"a": {"b": test_round_trip}})


def test_random_states_come_back(tmp_path):
    checkpoint.save(tmp_path, checkpoint.random_states())
    draw = lambda: (torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random())  # noqa: E731
    first = draw()
    checkpoint.set_random_states(checkpoint.load(tmp_path))
    assert draw() == first


def test_a_damaged_checkpoint_never_takes_the_place_of_the_good_one(tmp_path, monkeypatch):
    for step in (1, 2):
        checkpoint.save(tmp_path, {"step": step})
    path = tmp_path / checkpoint.NAME
    path.write_bytes(path.read_bytes()[:-1])
    assert checkpoint.load(tmp_path)["step"] == 1

    def cut(*_):
        raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(os, "replace", cut)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, {"step": 3})
    assert checkpoint.load(tmp_path)["step"] == 1, "the good one is still there"
    checkpoint.save(tmp_path, {"step": 3})
    path.write_bytes(b"damaged again")
    assert checkpoint.load(tmp_path)["step"] == 1
    checkpoint.save(tmp_path, {"step": 4})
    checkpoint.save(tmp_path, {"step": 5})
    path.write_bytes(b"and again")
    assert checkpoint.load(tmp_path)["step"] == 4


def test_what_torch_refuses_is_one_line_and_nothing_takes_its_place(tmp_path, monkeypatch, capsys):
    """Without memory, a checkpoint cannot be read and may be whole."""
    checkpoint.save(tmp_path, {"step": 1})

    def no_memory(*_):
        raise RuntimeError("unable to mmap 8 bytes:\nCannot allocate memory (12)")
    monkeypatch.setattr(checkpoint, "safe_open", no_memory)
    with pytest.raises(UserError, match=r"cannot read checkpoint .*: unable to mmap .*fresh") as e:
        checkpoint.load(tmp_path)
    assert "\n" not in str(e.value) and not capsys.readouterr().err
    assert tmp_path / checkpoint.NAME not in checkpoint.DAMAGED


@pytest.mark.parametrize("before", [True, False])
def test_the_warning_about_a_damaged_checkpoint_knows_if_there_is_one_before(
        before, tmp_path, capsys):
    checkpoint.save(tmp_path, {"step": 1})
    if before:
        checkpoint.save(tmp_path, {"step": 2})
    (tmp_path / checkpoint.NAME).write_bytes(b"damaged")
    assert checkpoint.load(tmp_path) == ({"step": 1} if before else None)
    said = capsys.readouterr().err
    assert ("using the one before it" if before else "there is none before it") in said
