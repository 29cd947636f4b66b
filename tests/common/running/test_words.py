"""The words of a command line, and its help."""

import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.config import keys
from common.errors import UserError
from common.running import bundle, command, export, recheck, reproduce
from common.running.words import (
    as_typed,
    help_text,
    names_of,
    parse_arguments,
    parse_options,
    parse_seeds,
    texts_of,
)
from tests.common.few import few_of
from tests.common.test_experiments import Own, planned


@pytest.mark.parametrize("word", ["steps", "=3", "a=["])
def test_unreadable_words(word):
    with pytest.raises(UserError):
        parse_arguments([word])


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=6, unique=True))
def test_seed_lists_come_back(seeds):
    assert parse_seeds(",".join(map(str, seeds))) == seeds


@given(st.integers(0, 500), st.integers(0, 50))
def test_seed_ranges_are_inclusive(first, more):
    assert parse_seeds(f"{first}-{first + more}") == list(range(first, first + more + 1))


@given(st.text(max_size=8).filter(lambda t: not any(c in "0123456789" for c in t)))
@example("٣")
def test_other_seeds_are_refused(text):
    with pytest.raises(UserError):
        parse_seeds(text)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 10**9), st.booleans())
def test_values_survive_the_command_line(lr, steps, compiled):
    _, _, overrides = parse_arguments(
        [f"optim.lr={lr!r}", f"train.steps={steps}", f"train.compile={compiled}"])
    assert overrides == {"optim.lr": lr, "train.steps": steps, "train.compile": compiled}


def test_help_lists_every_experiment_and_key(tmp_path):
    experiments = planned(tmp_path, "")
    text = help_text(experiments, "train.py", "About.")
    for name in ["a", "b", "rate", "both", *keys(Own)]:
        assert f"  {name} " in text
    assert "learning rate" in text
    assert f"(str, {experiments.default!r})" in text, "what is run when none is named"
    assert "(float, 0.99; only where optim.adam=true)" in text
    assert "(int, 100; not used by this paper)" in text and "(float32|bfloat16, 'float32')" in text


@pytest.mark.parametrize("word", [
    "train.steps=0010", "model.hidden=[100,010]", "optim.lr=-01", "train.steps=1:30",
    "model.hidden=[1:30:00]", "optim.lr=1:30.5", "train.steps=0_10", "optim.lr=1e-400",
    "optim.betas=[0.9, -2.5E-999]"])
def test_numbers_that_yaml_reads_as_others_are_refused(word):
    with pytest.raises(UserError, match=r"without leading zeros|without colons|not rounded to 0"):
        parse_arguments([word])


@pytest.mark.parametrize(("word", "value"), [
    ("a=1e-05", 1e-5), ("a=0.05", 0.05), ("a=0", 0), ("a=[0,0.0,1e+06]", [0, 0.0, 1e6]),
    ("a=run_0010.safetensors", "run_0010.safetensors"),
    ("a=cuda:0", "cuda:0"), ("a='010'", "010"), ("a=x 1:30", "x 1:30")])
def test_zeros_that_mean_what_they_say_are_read(word, value):
    assert parse_arguments([word])[2] == {"a": value}


@pytest.mark.parametrize("text", ["0-3000000", "2147483648", "0-1,99999999999999999999"])
def test_more_seeds_than_anybody_means_are_refused_at_once(text):
    with pytest.raises(UserError, match="expected at most 10,000 seeds"):
        parse_seeds(text)


@pytest.mark.parametrize(("text", "names"), [
    ("a", ["a"]), ("a,b", ["a", "b"]), ("b,a,c", ["b", "a", "c"]), ("a,A", ["a", "A"])])
def test_names_are_split(text, names):
    assert names_of("claims", text) == names


@pytest.mark.parametrize(("text", "twice"), [
    ("a,a", "a"), ("a,b,a", "a"), ("c,a,b,b", "b"), (",", "")])
def test_a_name_is_given_once(text, twice):
    with pytest.raises(UserError) as e:
        names_of("claims", text)
    assert str(e.value) == f"claims={text}: {twice!r} is named twice; expected it once"


TWICE = {
    "bench": ["batchnorm", "blocks=1", "blocks=2"], "export": ["batchnorm/bn", "to=a", "to=b"],
    "recheck": ["batchnorm", "at_most=1m", "at_most=2m"], "site": ["to=a", "to=b"],
    "reproduce": ["batchnorm", "seeds=1", "seeds=2"], "new": ["resnet", "title=A", "title=B"],
    "notebook": ["to=a", "to=b"], "train": ["batchnorm", "seed=1", "seed=2"],
    "bundle pack": ["nopaper", "part=1M", "part=40M"], "bundle unpack": [".", "to=a", "to=b"],
    "bundle collect": ["size=1M", "size=2M"], "bundle accept": ["replace=true", "replace=true"]}
"""Of every command, words of which a key is given twice."""

UNUSED = {
    "bench": ["batchnorm", "seed=3"], "export": ["batchnorm/bn", "seed=7"],
    "recheck": ["batchnorm", "seed=3"], "reproduce": ["batchnorm", "seed=3"],
    "new": ["resnet", "seed=3"], "site": ["seed=3"], "notebook": ["seed=3"],
    "train": ["batchnorm", "experiment=quick", "--pace", "seed=3"],
    "bundle pack": ["nopaper", "seed=3"], "bundle unpack": [".", "seed=3"],
    "bundle collect": ["seed=3"], "bundle accept": ["a", "seed=3"]}
"""Of every command, words of which it does not use the last."""


@pytest.mark.parametrize("words", [[*c.split(), *w] for c, w in (*TWICE.items(), *UNUSED.items())],
                         ids=" ".join)
def test_no_command_drops_a_word_it_was_given(end_of, monkeypatch, tmp_path, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    code, said = end_of(lambda: command.main(words))
    assert code == 2 and said.err.count("\n") == 1 and not said.out
    assert words[-1].split("=")[0] in said.err
    twice = words[-2].split("=")[0] == words[-1].split("=")[0]
    assert not twice or " once" in said.err


OWN = [["export", "batchnorm/bn", k] for k in export.KEYS] + [
    ["reproduce", "batchnorm", k] for k in reproduce.OPTIONS] + [
    ["recheck", "batchnorm", k] for k in recheck.OPTIONS] + [["bench", "batchnorm", "blocks"]] + [
    ["train", "batchnorm", k] for k in ("experiment", "seed", "budget", "train.steps", "optim.lr")]


@pytest.mark.parametrize("value", few_of(
    ["[torch]", "[]", "{a: 1}", "[[1], {b: [2]}]", "!!binary YQ=="], "[torch]", "!!binary YQ=="))
@pytest.mark.parametrize("words", OWN, ids=" ".join)
def test_a_value_of_any_kind_is_one_line(end_of, monkeypatch, tmp_path, words, value):
    """A list cannot be looked up in a table, a mapping has no letters."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    code, said = end_of(lambda: command.main([*words[:-1], f"{words[-1]}={value}"]))
    assert code == 2 and said.err.count("\n") == 1 and "expected" in said.err


def test_every_command_is_held_to_that():
    commands = {*command.COMMANDS, "train"} - {"bundle", "report"}  # report takes names alone
    assert TWICE.keys() == UNUSED.keys() == commands | {f"bundle {w}" for w in bundle.WORDS}


def test_options_are_the_commands_own():
    assert parse_options(["a=3", "x.b=[1, 2]"], ["a"], "x.") == {"a": 3, "x.b": [1, 2]}
    for word in ("b=1", "seed=1", "experiment=1", "x.b=1"):
        with pytest.raises(UserError, match="unknown key"):
            parse_options([word], ["a"])
    assert texts_of(["python=3.10", "to="]) == {"python": "3.10", "to": ""}


@pytest.mark.parametrize(("words", "message"), [
    (["seed=" + "9" * 5000], "expected a whole number"),
    (["seed=" + "0-9999,10000-19999"], "expected at most 10,000 seeds"),
    *(([f"seed={text}"], f"seed={text}: {part}: expected decimal numbers, without leading zeros")
      for text, part in (("01", "01"), ("00", "00"), ("00-2", "00-2"), ("0-02", "0-02"),
                         ("0,01", "01"), ("1,2-03", "2-03"))),
    (["seed=0,0"], "named twice"), (["seed=0-3,2"], "named twice"),
    (["train.steps=3", "train.steps=4"], "train.steps is given twice"),
    (["experiment=a", "experiment=b"], "experiment is given twice"),
    (["experiment="], "experiment=: expected the name"),
    (["--pace=1"], "cannot read '--pace=1': expected key=value")])
def test_what_says_two_things_or_nothing_is_refused(words, message):
    with pytest.raises(UserError) as e:
        parse_arguments(words)
    assert message in str(e.value) and len(str(e.value)) < 200


@pytest.mark.parametrize(("typed", "message", "said"), [
    ("train.steps=1e2", "train.steps=100.0: expected a whole number",
     "train.steps=1e2: expected a whole number"),
    ("optim.lr=-1", "optim.lr=-1.0: expected a number above 0",
     "optim.lr=-1: expected a number above 0"),
    ("budget=no", "budget=False: expected a time", "budget=no: expected a time"),
    ("a={b: 1}", "a={'b': 1}: expected a number", "a={b: 1}: expected a number"),
    ("b=2", "a=1.0: expected c", "a=1.0: expected c"), ("a=2", "a is odd", "a is odd")])
def test_a_value_is_shown_as_it_was_typed(typed, message, said):
    with pytest.raises(UserError) as e, as_typed(["experiment=quick", typed, "--pace"]):
        raise UserError(message)
    assert str(e.value) == said


@pytest.mark.parametrize(("word", "said"), [
    ("--experiment=quick", "such as experiment=quick"), ("-seed=3", "such as seed=3"),
    ("--quick", "try --help"), ("--=3", "try --help"), ("=3", "try --help")])
def test_a_word_with_dashes_is_shown_without(word, said):
    with pytest.raises(UserError, match=f"expected key=value.*{said}"):
        parse_arguments([word])


@pytest.mark.parametrize(("word", "said"), [
    ("train.steps=0010", "cannot read 'train.steps=0010': 0010: expected a decimal number, "
     "without leading zeros"),
    ("optim.lr=1e-400", "cannot read 'optim.lr=1e-400': 1e-400: expected a number that is not "
     "rounded to 0")])
def test_what_yaml_would_misread_says_why(word, said):
    with pytest.raises(UserError) as e:
        parse_arguments([word])
    assert str(e.value) == said
