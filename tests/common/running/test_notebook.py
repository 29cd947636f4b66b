"""The notebook for those who start in one: made from its cells, and executed."""

import pytest

from common.errors import UserError
from common.running import notebook

nbformat = pytest.importorskip("nbformat")
COMMITTED = notebook.SOURCE.with_suffix(".ipynb")


def test_the_committed_notebook_is_what_its_cells_make():
    assert COMMITTED.read_text() == notebook.written(notebook.SOURCE.read_text())
    nbformat.validate(nbformat.read(COMMITTED, as_version=4))
    assert not [c for c in nbformat.read(COMMITTED, as_version=4).cells if c.get("outputs")]


def test_cells():
    text = '"""About."""\n# %% [markdown]\n# # A\n#\n# b\n\n# %%\nx = 1\n\n\ny\n'
    assert notebook.cells(text) == [
        ("markdown", "# A\n\nb"), ("code", "x = 1\n\n\ny")]


@pytest.mark.parametrize("text, said", [
    ("# %% [raw]\n# a\n", "a cell begins with '# %% [raw]'"),
    ("# %% [markdown]\n# a\nx = 1\n", "a cell of text has the line 'x = 1'"),
])
def test_what_is_no_cell_is_said(text, said):
    with pytest.raises(UserError) as e:
        notebook.cells(text)
    assert said in str(e.value)


def test_check(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(notebook, "SOURCE", tmp_path / "steps.py")
    (tmp_path / "steps.py").write_text("# %%\nx = 1\n")
    assert notebook.main(["--check"]) == 1
    assert notebook.main([]) == 0 and notebook.main(["--check"]) == 0
    (tmp_path / "steps.py").write_text("# %%\nx = 2\n")
    assert notebook.main(["--check"]) == 1
    assert "differs from" in capsys.readouterr().out
    with pytest.raises(UserError, match="unknown word 'all'"):
        notebook.main(["all"])


@pytest.mark.parametrize(("words", "said"), [
    (["to="], "to=: expected a file, such as to=first_steps.ipynb"),
    (["to=", "--check"], "to=: expected a file, such as"), (["--check", "to="], "to=: expected a"),
    (["to"], "unknown word 'to': expected --check, to=FILE or nothing"),
    (["too=x"], "unknown word 'too=x': expected --check")])
def test_a_file_to_write_has_a_name(words, said):
    with pytest.raises(UserError, match=f"^{said}"):
        notebook.main(words)


@pytest.mark.slow
def test_a_cell_that_fails_is_said_and_its_output_kept(tmp_path, monkeypatch, capsys):
    pytest.importorskip("nbclient")
    monkeypatch.setattr(notebook, "SOURCE", tmp_path / "steps.py")
    (tmp_path / "steps.py").write_text(
        "# %%\nimport os\nprint(os.environ['PAPERS_RUNS'])\n# %%\n1 / 0\n# %%\nprint('after')\n")
    to = tmp_path / "executed.ipynb"
    assert notebook.main([f"to={to}"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith(
        "steps.py fails: ZeroDivisionError: division by zero")
    first, second, last = nbformat.read(to, as_version=4).cells
    assert first.outputs[0].text == "runs\n"  # a folder of its own: a reader's are left alone
    assert second.outputs[0].ename == "ZeroDivisionError" and not last.outputs


@pytest.mark.slow
def test_every_cell_runs_and_says_what_it_should(whole):
    """Of the notebook that papers site has executed for its page."""
    sources = [c.source for c in nbformat.read(COMMITTED, as_version=4).cells]
    made = nbformat.read(whole / "papers" / COMMITTED.name, as_version=4)
    assert [c.source for c in made.cells] == sources
    outputs = [o for c in made.cells for o in c.get("outputs", [])]
    assert not [o for o in outputs if o.get("name") == "stderr"], "it is not quiet"
    texts = "\n".join(o.get("text", "") + o.get("data", {}).get("text/markdown", "")
                      for o in outputs)
    for said in ("quick_bn", "accuracy ", "published 96.60 %, band 95.60 to 97.60 %",
                 "**Statements of the paper", "with BN, test accuracy after 10,000 steps"):
        assert said in texts, said
    kinds = [k for o in outputs for k in o.get("data", {})]
    assert "image/png" in kinds and "image/svg+xml" in kinds
