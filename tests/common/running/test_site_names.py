"""Code beside the paper: every name of every README's table stands for something."""

import ast
import inspect
import re
import textwrap

import pytest

from common.errors import UserError
from common.evidence.paper import paper_names, papers
from common.running.site import beside, build, names
from common.running.site.pages import Pages


@pytest.mark.parametrize("name", paper_names())
def test_every_name_of_a_papers_table_stands_for_something(name):
    (paper,) = papers([name])
    found = names.rows(paper)
    assert len(found) >= 4
    assert not [row.says for row in found if not row.names], "a row without a name"


def paper(name="batchnorm"):
    return papers([name])[0]


@pytest.mark.parametrize("cell", [
    "`model.batch_norms`", "`models.batch_norm`", "`nothing.py`", "`BatchNorm.infer`",
    "`model.BatchNorm.inference`, `.backwards`", "`optim.lrs`", "`experiment=bnn`",
    "`Q` in `model.batch_norm`", "`momentums=0.1` of `model.BatchNorm`",
    "`common/evidence/plotting.py: draw_nothing`"])
def test_a_name_that_stands_for_nothing_is_said(cell):
    with pytest.raises(UserError, match="the table from the paper to the code names"):
        list(names.of_cell(paper(), cell))


@pytest.mark.parametrize("cell, kinds", [
    ("`model.batch_norm` (readable), `model.BatchNormByHand.forward`", ["object"] * 2),
    ("`model.BatchNorm.inference`, `.forward`", ["object"] * 2),
    ("`BatchNorm.inference`", ["object"]),
    ("`μ` in `model.batch_norm`", ["word", "object"]),
    ("`model.BatchNorm` with `momentum=0.1`", ["object", "word"]),
    ("`config.yaml`, `plots.py`, `model`", ["file", "module", "module"]),
    ("`optim.lr`; experiments `sweep_bn`, `sweep…`, `experiment=quick`",
     ["key", *["experiment"] * 3]),
    ("`common/evidence/plotting.py: performance_profile`, `common/problems`",
     ["object", "module"]),
    ("metrics `accuracy_population`", ["word"]),
])
def test_what_names_stand_for(cell, kinds):
    assert [n.kind for n in names.of_cell(paper(), cell)] == kinds


def test_a_sibling_belongs_to_the_class_before_it():
    *_, last = names.of_cell(paper(), "`model.BatchNorm.inference`, `.forward`")
    assert last.source.name == "BatchNorm.forward"


@pytest.mark.parametrize("name", ["batch_norm", "BatchNormByHand.backward", "BatchNorm",
                                  "population_statistics", "Network.forward"])
def test_lines_are_those_that_python_finds(name):
    model = paper().module("model")
    thing = model
    for part in name.split("."):
        thing = getattr(thing, part)
    lines, first = inspect.getsourcelines(thing)
    found = names.find(paper().folder / "model.py", name)
    assert (found.first, found.text + "\n") == (first, "".join(lines))
    assert found.module == "papers.batchnorm.model"


def test_a_constant_is_found_too():
    found = names.find(paper("levenberg_marquardt").folder / "model.py", "REASONS")
    assert found.text.startswith("REASONS")
    assert names.find(paper().folder / "model.py", "batch_norm.nothing") is None


def test_a_table_that_is_missing_or_has_other_columns_is_said(tmp_path, monkeypatch):
    found = paper()
    monkeypatch.setattr(found, "folder", tmp_path)
    (tmp_path / "README.md").write_text("# Nothing\n")
    with pytest.raises(UserError, match="expected a heading 'From the paper to the code'"):
        names.rows(found)
    (tmp_path / "README.md").write_text(
        "## From the paper to the code\n\n| a | b |\n|---|---|\n| a \\| a | b | c |\n")
    with pytest.raises(UserError, match=r"row 1 .* has 3 cells: expected 2"):
        names.rows(found)


def test_metrics_are_traced_to_the_functions_that_make_them():
    assert [s.name for s in names.measuring(paper(), "accuracy")] == ["BatchNormRecipe.evaluate"]
    assert not names.measuring(paper(), "accuracies")
    (made,) = names.measuring(paper("bayes_by_backprop"), "pruned_95")  # f"pruned_{…}"
    assert made.name == "BayesRecipe.posterior_metrics"


@pytest.mark.parametrize("name, metric", [
    ("dropout", "error"), ("resnet", "error"), ("bayes_by_backprop", "selected_error")])
def test_what_publishes_or_names_a_metric_does_not_make_it(name, metric):
    first, *rest = (s.name.rpartition(".")[2] for s in names.measuring(paper(name), metric))
    assert first == "evaluate" and not {"publish", "headlines"} & set(rest)


@pytest.mark.parametrize("text, shown", [
    ("x_j = Σ y_i w_ji", "x<sub>j</sub> = Σ y<sub>i</sub> w<sub>ji</sub>"),
    ("(2/√π) e^(−y²), λ^L f_{λθ}", "(2/√π) e<sup>−y²</sup>, λ<sup>L</sup> f<sub>λθ</sub>"),
    ("αx_ℓ, θ_(n−1)", "αx<sub>ℓ</sub>, θ<sub>n−1</sub>"),
    ("exp_range, x_longer, `x_j`, a_ b", "exp_range, x_longer, `x_j`, a_ b")])
def test_formulas_are_typeset(text, shown):
    assert beside.typeset(text) == shown


def test_the_page_has_each_place_beside_its_lines():
    text = beside.page(paper(), Pages(set(), {"papers.batchnorm.model"}))
    says = text.index("section 3, the six gradient equations")
    code = text.index("def backward(ctx: Any, dy")
    assert says < code < text.index("Algorithm 2, lines 7–10")
    name = "papers.batchnorm.model"
    assert f"/api/{name}.html#{name}.BatchNormByHand.backward" in text


BLOCK = re.compile(r"^(?P<fence>`{3,})([^`\n]*)\n(.*?)\n(?P=fence)$", re.MULTILINE | re.DOTALL)


def long_block(lines, language="python"):
    return beside.fenced("\n".join(f"x = {k}" for k in range(lines)), language)


@pytest.mark.parametrize("language", ["python", "yaml", "{code-block} python"])
def test_a_long_block_says_how_many_lines_are_out_of_sight(language):
    most = beside.SHOWN_LINES + beside.FEW
    text = "\n\n".join(["a", long_block(most, language), "b", long_block(most + 1, language),
                        long_block(most + 20, language), "c"])
    found = beside.unfolding(text, "row-7")
    assert re.findall(r'id="([^"]+)">|href="#([^"]+)">(.*?)</a>', found) == [
        ("row-7-1", "", ""), ("", "row-7-1", "… 6 more lines"),
        ("row-7-2", "", ""), ("", "row-7-2", "… 25 more lines")]
    assert beside.unfolding(long_block(most), "a") == long_block(most)
    assert re.sub(r"\n\n<p.*\n\n</div>|<div.*\n\n", "", found) == text, "nothing else changes"
    emphasised = beside.emphasised("\n".join("x" for _ in range(most)), [1, 2])
    assert beside.unfolding(emphasised, "a") == emphasised, "what is emphasised is no line"


@pytest.mark.parametrize("name", paper_names())
def test_every_object_of_a_table_leads_to_its_place_in_the_api_or_to_its_file(name):
    its = paper(name)
    pages = Pages(set(), set(build.modules([(its, [])])))
    text = beside.page(its, pages)
    for found in (n for row in names.rows(its) for n in row.names):
        if found.kind == "object":
            module, of = found.source.module, found.source.name
            assert f'<code>{of}</code></a>' in text, found.name
            if module in pages.modules:
                assert f'href="../../api/{module}.html#{module}.{of}"' in text, found.name
                assert not re.search(r"(^|\.)_(?!_\w+__$)", of), f"{of} has no place in its page"
            else:
                assert module.endswith(".plots"), f"{module} has no page"
                assert f'href="../../files/{module.replace(".", "/")}.py.html"' in text, found.name


@pytest.mark.parametrize("name", paper_names())
def test_every_block_beside_the_paper_has_lines_that_do_something(name):
    blocks = [(m[2], m[3]) for m in BLOCK.finditer(beside.page(paper(name), Pages(set(), set())))]
    assert len(blocks) >= 4 and {language for language, _ in blocks} <= {
        "python", "{code-block} python", "yaml"}
    for text in (b for language, b in blocks if "python" in language):
        text = re.sub(r"^:emphasize-lines: .*\n\n", "", text)
        (first, *more) = [n for n in ast.parse(text).body if not isinstance(n, ast.Expr)]
        body = getattr(first, "body", [first])
        assert more or [n for n in body if not (isinstance(n, ast.Expr) and isinstance(
            n.value, ast.Constant))], text


def test_a_docstring_ends_with_its_first_paragraph():
    text = textwrap.dedent('''
        """A module.

        More of it.
        """
        import math


        def area(r: float) -> float:
            """The area of a circle,
            whatever its radius.

            Args:
                r: the radius.
            """
            return math.pi * r**2

        def short():
            """Short."""
        ''').strip()
    assert beside.implementing(text) == textwrap.dedent('''
        """A module."""


        def area(r: float) -> float:
            """The area of a circle,
            whatever its radius."""
            return math.pi * r**2

        def short():
            """Short."""
        ''').strip()
    method = names.find(paper().folder / "model.py", "BatchNormByHand.forward")
    assert beside.implementing(method.text).startswith("@staticmethod\ndef forward(ctx")


def test_an_experiment_is_shown_by_its_lines():
    text = beside.page(paper("loss_landscape"), Pages(set(), set()))
    assert 'surface_plain20:\n  help: "the same without shortcuts"\n  from: surface_res' in text
    assert "curvature_plain20" not in text
    config = paper().folder / "config.yaml"
    assert beside.entries(config, "experiments", "bn_best".__eq__).startswith("bn_best: {help: ")
    assert beside.entries(config, "experiments", "nothing".__eq__) == ""
    assert "what all experiments share\n\n```yaml\ndata: {name: mnist}" in beside.page(
        paper(), Pages(set(), set()))


def test_the_lines_of_a_word_are_emphasised():
    (row,) = [r for r in names.rows(paper("warm_start")) if "gradient_old" in r.code]
    text = beside.pair(paper("warm_start"), Pages(set(), set()), row)
    block = next(m for m in BLOCK.finditer(text) if m[2] == "{code-block} python")
    numbers, code = re.match(r":emphasize-lines: ([\d,]+)\n\n(.*)", block[3], re.DOTALL).groups()
    lines = code.splitlines()
    assert all("gradient_old" in lines[int(n) - 1] or "gradient_new" in lines[int(n) - 1]
               for n in numbers.split(","))


@pytest.mark.parametrize("says, shown", [
    ("eq. (1): f(α, β) = L(β), a plane",
     'eq. (1): <span class="formula">f(α, β) = L(β)</span>, a plane'),
    ("rule ∝ x_j; ghosts", '<span class="formula">rule ∝ x<sub>j</sub></span>; ghosts'),
    ("section 4, with `a=b`", "section 4, with `a=b`")])
def test_equations_stand_in_a_formulas_letters(says, shown):
    assert beside.stated(says) == shown


def test_a_name_goes_on_in_the_next_line_after_a_dot():
    assert beside.breaking("`model.batch_norm` < `a<b`") == (
        '<code class="docutils literal">model.<wbr>batch_<wbr>norm</code> < '
        '<code class="docutils literal">a&lt;b</code>')
