"""Know one paper's folder, know all: every folder has the same files."""

import ast
import re

import pytest

from common.config import keys, unused
from common.evidence.paper import half_made, papers
from common.evidence.results import unread
from common.experiments import Experiments
from common.files import ROOT
from common.running.new_paper import left_in

FILES = ["README.md", "__init__.py", "model.py", "train.py", "config.yaml", "claims.yaml",
         "facts.py", "plots.py", "bench.py", "REPORT.md", "results", "figures"]
UNBOUNDED = {"model.rho", "prior.minus_log_sigma1", "prior.minus_log_sigma2",  # any real number
             "model.depth"}  # the network itself says which it can have
HEADINGS = ["## Notes from the paper", "## Deviations and choices"]
FOLDERS = sorted(p for p in (ROOT / "papers").iterdir()
                 if p.is_dir() and not p.name.startswith("_"))
WHOLE = [p for p in FOLDERS if p.name not in half_made()]  # the first test says what others lack


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_the_folder_has_the_houses_files(folder):
    missing = [f for f in FILES if not (folder / f).exists()]
    assert not missing, f"papers/{folder.name} lacks {', '.join(missing)}"
    assert (ROOT / "tests" / "papers" / folder.name).is_dir(), "tests mirror papers"


@pytest.mark.parametrize("folder", WHOLE, ids=lambda p: p.name)
def test_the_readme_has_the_houses_headings(folder):
    text = (folder / "README.md").read_text()
    assert not [h for h in HEADINGS if h not in text]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_nothing_of_the_template_is_left(folder):
    left = left_in(folder)
    assert not left, "\n".join(left)


@pytest.mark.parametrize("folder", WHOLE, ids=lambda p: p.name)
def test_there_is_a_quick_experiment_on_bundled_digits(folder):
    (paper,) = papers([folder.name])
    experiments: Experiments = paper.experiments
    for name in experiments.expand("quick"):
        config = experiments.resolve(name)
        assert "data.name" in unused(config) or config.data.name == "digits"
        assert not config.record


@pytest.mark.parametrize("folder", WHOLE, ids=lambda p: p.name)
def test_every_number_says_what_it_may_be(folder):
    (paper,) = papers([folder.name])
    free = {k.name for k in keys(paper.schema).values()
            if k.type in ("int", "float", "list[int]", "list[float]") and not str(k.bounds)}
    assert free <= UNBOUNDED, "give key() the least, above, most or below of each of these"


@pytest.mark.parametrize("folder", WHOLE, ids=lambda p: p.name)
def test_every_result_is_of_an_experiment(folder):
    (paper,) = papers([folder.name])
    assert not unread(folder, paper.experiments.experiments), "no report reads these"


@pytest.mark.parametrize("folder", WHOLE, ids=lambda p: p.name)
def test_no_paper_reaches_into_another(folder):
    for path in folder.glob("*.py"):
        others = set(re.findall(r"papers\.(\w+)", path.read_text())) - {folder.name}
        assert not others, f"{path.name} uses {others}"


ROOMS = ["running", "evidence", "training", "problems", ""]
"""The rooms of common/ from top to bottom; the ground has no name."""


@pytest.mark.parametrize("room", [r for r in ROOMS if r != "problems"])  # those have one test file
def test_tests_mirror_common(room):
    modules = {p.stem for p in (ROOT / "common" / room).glob("*.py")} - {"__init__", "__main__"}
    tested = {p.stem.removeprefix("test_")
              for p in (ROOT / "tests" / "common" / room).glob("test_*.py")}
    assert not modules - tested, f"no test file in tests/common/{room} for {modules - tested}"


def imported(text):
    """Everything a module imports, with its packages, by full name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports name their package in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reaching_up(room, text):
    """What a module of a room imports from the rooms above it, or from a paper."""
    above = [f"common.{r}" for r in ROOMS[:ROOMS.index(room)]] + ["papers"]
    return [name for name in imported(text) if any(f"{name}.".startswith(f"{r}.") for r in above)]


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_downwards(room):
    folder = ROOT / "common" / room
    for path in folder.rglob("*.py") if room else folder.glob("*.py"):
        if "template" not in path.parts:
            assert not reaching_up(room, path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize(("room", "text"), [
    ("training", "from common import running"), ("problems", "import common.training.loop as l"),
    ("", "def f():\n    from common.evidence import generated"),
    ("running", "from papers import x"),
    ("evidence", "import papers.resnet.model"), ("training", "from common.running import plan")])
def test_an_import_upwards_is_seen(room, text):
    assert reaching_up(room, text)


def test_no_path_of_one_machine_in_tracked_files():
    pattern = re.compile(r"(?<![\w.])/(?:home|root|Users|work)/\w")
    for path in ROOT.rglob("*"):
        relative = path.relative_to(ROOT)
        if path.suffix in (".py", ".md", ".yaml", ".json", ".toml", ".csv") and not any(
                part.startswith((".", "runs", "build")) or part.endswith(".egg-info")
                or part in ("venv", "wandb") for part in relative.parts):
            assert not pattern.search(path.read_text()), relative


LINES, STATEMENTS, TRAIN = 350, 60, 200
"""Of a file at most, of a function at most, and of a paper's train.py fewer than."""

SOURCES = sorted(p for room in ("common", "papers", "tests") for p in (ROOT / room).rglob("*.py")
                 if not {"template", "under_way"} & set(p.parts))


def long_functions(text):
    """Names of functions with more than so many lines, docstring included."""
    return [f"{node.name} ({node.end_lineno - node.lineno + 1})"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.end_lineno - node.lineno + 1 > STATEMENTS]


def private_names(text):
    """What a module takes from inside other modules or objects, but for torch's and os's."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and not f"{node.module}.".startswith("torch."):
            yield from (f"{node.module}.{a.name}" for a in node.names if a.name.startswith("_"))
        if (isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr)
                and node.attr not in ("_asdict", "_fields", "_make", "_replace")):  # named tuples'
            root = node
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Call):  # super()
                root = root.func
            if not (isinstance(root, ast.Name) and root.id in ("self", "cls", "super", "torch",
                                                               "os")):
                yield ast.unparse(node)


def test_files_and_functions_are_short():
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= LINES, path
        assert not long_functions(text), path


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_train_py_is_short(folder):
    lines = (folder / "train.py").read_text(encoding="utf-8").count("\n")
    assert lines < TRAIN, "what is more belongs in modules of its own beside train.py"


def test_no_module_reaches_into_anothers_private_names():
    for path in SOURCES:
        if "tests" not in path.relative_to(ROOT).parts:
            assert not list(private_names(path.read_text(encoding="utf-8"))), path


@pytest.mark.parametrize("text", ["from common.config import _x", "config._x", "a.b._c()",
                                  "f()._x", "other.self._x"])
def test_a_private_name_is_seen(text):
    assert list(private_names(text))


def test_a_long_function_is_seen():
    assert long_functions("def f():\n" + "    x = 1\n" * 60) == ["f (61)"]
    assert not long_functions("def f():\n" + "    x = 1\n" * 59)


DOORS = {"file=sys.stderr": ["common/errors.py", "common/running/unpack.py"],
         "json.load": ["common/typed.py", "common/running/unpack.py", "common/evidence/paper.py",
                       "common/evidence/history.py", "common/training/tracking.py",
                       "papers/first_steps.py"],
         "warnings.warn": [], "logging.warn": [], ".isdigit(": [], ".isdecimal(": []}
"""What stands in these files alone: others use ``say`` and ``warn``, ``read_json``, ``whole``.

``unpack.py`` runs without this repository, a notebook's cell is to be read, and the others parse
what the same module wrote."""


@pytest.mark.parametrize("text", DOORS)
def test_there_is_one_door(text):
    beside = [name for path in SOURCES if text in path.read_text(encoding="utf-8")
              if not (name := path.relative_to(ROOT).as_posix()).startswith("tests/")
              and name not in DOORS[text]]
    assert not beside
