"""The table from which a user chooses, and what is kept of it."""

import json
from dataclasses import replace

import pytest

from common.errors import UserError
from common.files import ROOT
from common.running import forms
from common.typed import read_json
from tests.common.running.test_export import by_hand, ready

__all__ = ["ready"]


def test_forms_are_compared_on_the_same_images(ready, tmp_path, monkeypatch):
    small = replace(ready, images=ready.images[:300], labels=ready.labels[:300])
    found = forms.compare(small)
    wrong = by_hand(ready, small.images).argmax(1) != small.labels.numpy()
    for form in ("torch", "onnx"):
        assert found.forms[form].error == pytest.approx(100 * wrong.mean())
        assert found.forms[form].same == 1
    parameters = 64 * 50 + 50 + 50 * 50 + 50 + 50 * 10 + 10
    assert found.forms["torch"].bytes == 4 * parameters < found.forms["onnx"].bytes
    assert found.images == 300 and found.made.hardware.threads == 1
    rows = [[c.strip() for c in line.split("|")[1:-1]]
            for line in forms.table([found]).splitlines()[2:] if line.startswith("|")]
    assert [r[1] for r in rows] == list(forms.LABELS.values())
    assert rows[0][5:] == ["0", "1.00", "1.00"] and rows[0][0] == "initialisation `small`"
    monkeypatch.setattr(forms, "ROOT", tmp_path)
    (tmp_path / "papers/initialisation").mkdir(parents=True)
    assert forms.keep(small, found).name == "small.json" and forms.recorded() == [found]
    assert (tmp_path / forms.PICTURE).read_bytes() == forms.drawn([found])


def test_times_are_of_the_first_network(ready):
    found = forms.compare(replace(ready, images=ready.images[:20], labels=ready.labels[:20]))
    slow = replace_times(found, 3.0)
    rows = forms.table([found, slow]).splitlines()
    assert rows[5].split("|")[7].strip() == "3.00", "the other's torch"
    alone, many = (found.forms["torch"].milliseconds[n] for n in ("1", "256"))
    assert f"were {alone:.2g} ms an image one at a time and {many:.2g} ms 256" in rows[-1]
    assert found.made.hardware.cpu in rows[-1]


def replace_times(found, factor):
    times = {n: factor * t for n, t in found.forms["torch"].milliseconds.items()}
    torchs = found.forms["torch"].model_copy(update={"milliseconds": times})
    return found.model_copy(update={"forms": {"torch": torchs}})


def test_the_pages_table_is_what_was_kept():
    kept = forms.recorded()
    assert kept
    for path in ROOT.glob("papers/*/exports/*.json"):
        text = json.dumps(read_json(forms.Compared, path).written(), indent=1, ensure_ascii=False)
        assert path.read_text(encoding="utf-8") == text + "\n"
    assert forms.table(kept) in (ROOT / "papers/STUDY.md").read_text(encoding="utf-8")
    assert (ROOT / forms.PICTURE).read_bytes() == forms.drawn(kept)


def test_the_picture_has_a_panel_for_each_data_set(ready):
    found = forms.compare(replace(ready, images=ready.images[:20], labels=ready.labels[:20]))
    other = replace_times(found, 3.0).model_copy(update={"data": "other", "name": "slow"})
    left, right = forms.picture([found, other]).axes
    assert [a.get_title() for a in (left, right)] == ["digits", "other"]
    assert len(left.lines[0].get_xdata()) == 3
    assert right.lines[0].get_xdata() == pytest.approx([3.0])
    assert right.lines[0].get_ydata() == pytest.approx([found.forms["torch"].error])


def test_what_one_downloads_is_the_files(tmp_path, monkeypatch):
    monkeypatch.setattr(forms, "ROOT", tmp_path)
    for name, size, said in (
            ("a/weights/large.safetensors", 5230, {"data": "mnist", "error": 1.5}),
            ("b/results/coded/seed0.dcn", 1250,
             {"data": {"name": "mnist"}, "metrics": {"error": 2.25}}),
            ("a/weights/other.safetensors", 9000, {"data": "cifar10", "error": 8.0}),
            ("a/results/n/weights0.safetensors", 10, {})):  # for runs that go on from it
        path = tmp_path / "papers" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
        path.with_suffix(".json").write_text(json.dumps(said))
    assert forms.downloads(forms.downloadable()).splitlines()[2:] == [
        "| [a `other.safetensors`](a/weights/other.md) | cifar10 | 9.0 | 8.00 |",
        "| [b `coded`](b/results/coded/seed0.md) | mnist | 1.2 | 2.25 |",
        "| [a `large.safetensors`](a/weights/large.md) | mnist | 5.2 | 1.50 |"]


@pytest.mark.parametrize(("name", "said"), [
    ("a/weights/w.safetensors", '{"data": "mnist"}'),
    ("a/weights/w.safetensors", '{"data": {"name": "mnist"}, "metrics": {"error": 2}}'),
    ("a/weights/w.safetensors", '{"data": "mnist", "error": "1"}'),
    ("a/weights/w.safetensors", '{"data": "mnist", "error": NaN}'),
    ("a/weights/w.safetensors", '{"data": "mnist", "error": 1, "error": 2}'),
    ("a/weights/w.safetensors", "[" * 100_000), ("a/weights/w.safetensors", "[]"),
    ("a/weights/w.safetensors", None), ("b/results/c/seed0.dcn", '{"data": "mnist", "error": 2}'),
    ("b/results/c/seed0.dcn", '{"data": {"name": "mnist"}, "metrics": {}}')])
def test_what_is_said_beside_a_download_is_read_or_one_line(tmp_path, monkeypatch, name, said):
    monkeypatch.setattr(forms, "ROOT", tmp_path)
    path = tmp_path / "papers" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    if said is not None:
        path.with_suffix(".json").write_text(said)
    with pytest.raises(UserError, match=path.with_suffix(".json").name) as e:
        forms.downloadable()
    assert "\n" not in str(e.value)


def test_the_pages_downloads_are_what_is_published():
    assert forms.downloads(forms.downloadable()) in (ROOT / "papers/STUDY.md").read_text(
        encoding="utf-8")


def test_a_family_has_one_colour_and_what_lies_on_each_other_one_label(ready):
    found = forms.compare(replace(ready, images=ready.images[:20], labels=ready.labels[:20]))
    small = {k: m.model_copy(update={"bytes": m.bytes // 2}) for k, m in found.forms.items()}
    changed = [{"name": "net"}, {"name": "net_again-seed0"}, {"name": "other"},
               {"name": "net_small", "forms": small, "data": "other"},
               {"name": "net-large", "data": "other"}]
    left, right = forms.picture([found.model_copy(update=c) for c in changed]).axes
    names = [line.get_label() for line in left.lines]
    assert names == ["initialisation net,\ninitialisation net_again", "_", "initialisation other"]
    assert forms.label(found.model_copy(update={"paper": "net", "name": "net"})) == "net"
    assert left.lines[0].get_color() == left.lines[1].get_color() != left.lines[2].get_color()
    assert {line.get_color() for line in right.lines} == {left.lines[0].get_color()}
    assert [line.get_linestyle() for line in right.lines] == ["-", "--"], "of other sizes"


@pytest.mark.parametrize(("old", "new", "message"), [
    ('"images": 10000', '"images": "many"', "images: 'many': expected a whole number"),
    ('"torch": {', '"troch": {', "forms: the name 'troch': expected one of"),
    ('"256"', '"255"', "each with milliseconds of 1 and 256"),
    ('"error"', '"eror"', "unknown part 'forms.torch.eror'"),
    ('"commit"', '"comit"', "expected 'made.commit'"),
    ('{', '[', "is not JSON")])
def test_a_damaged_file_is_one_line(refused, old, new, message):
    assert message in refused(forms, ROOT / "papers/distillation/exports/soft-seed0.json", old, new)
