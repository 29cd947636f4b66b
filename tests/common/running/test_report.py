"""What is generated and belongs to no single paper: checked and written with the reports."""

import pytest

from common.errors import UserError
from common.evidence import generated
from common.files import ROOT
from common.running import forms, notebook, report


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A copy of what is shared, in a folder of its own; no papers' reports."""
    for module in (report, forms, notebook):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    tables = {name: lambda name=name: f"| {name} |\n| --- |" for name in report.TABLES}
    monkeypatch.setattr(report, "TABLES", tables)
    monkeypatch.setattr(report, "STUDY", tmp_path / "papers/STUDY.md")
    monkeypatch.setattr(forms, "recorded", list)
    monkeypatch.setattr(forms, "drawn", lambda found: b"<svg/>")
    monkeypatch.setattr(generated, "build", lambda names, outdated: ({}, set()))
    path = tmp_path / "papers/STUDY.md"
    path.parent.mkdir()
    path.write_text("before\n" + "".join(
        f"{begin}\nold\n{end}\n" for begin, end in map(report.markers, tables)) + "after\n")
    return path


def test_what_is_committed_agrees():
    for path, content in report.shared_files().items():
        assert generated.same(path, path.read_bytes(), content), path


@pytest.mark.slow
def test_without_names_shared_files_are_checked_and_written(study, capsys):
    pytest.importorskip("nbformat")
    made = {study, study.with_name("exports.svg"), notebook.SOURCE.with_suffix(".ipynb")}
    assert set(report.shared_files()) == made
    assert report.main(["--check"]) == 1 and "STUDY.md" in capsys.readouterr().out
    assert report.main([]) == 0 and report.main(["--check"]) == 0
    text = study.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    for name in report.TABLES:
        begin, end = report.markers(name)
        assert f"{begin}\n\n| {name} |\n| --- |\n\n{end}\n" in text


def test_with_names_they_are_left_alone(study):
    before = study.read_text()
    assert report.main(["batchnorm"]) == 0 and study.read_text() == before


def test_a_lost_marker_is_one_line(study):
    study.write_text(study.read_text().replace("<!-- end of downloads -->", ""))
    with pytest.raises(UserError, match=r"STUDY\.md: expected the lines <!-- downloads: made by"):
        report.main([])


def test_every_table_has_its_place():
    text = (ROOT / "papers/STUDY.md").read_text(encoding="utf-8")
    for name in report.TABLES:
        assert all(text.count(marker) == 1 for marker in report.markers(name))
