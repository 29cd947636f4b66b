"""Where numbers come from: read from files, and written back as it stood there."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from common.segments import Hardware, Segment
from common.typed import checked
from tests.common.toy import share

CARD = {"gpu": "A Card", "driver": "570.1", "cuda": "12.8", "cudnn": "91002", "precision": "tf32"}


@pytest.mark.parametrize("content", [
    share(), share(7, gpu="A Card"), share() | {"side_by_side": 3, "processes": 2},
    share() | {"started_from": {"name": "base", "sha256": "a"}},
    share() | {"versions": {"python": "3.11", "torch": "2", "numpy": "2", "more": "1"}}])
def test_what_was_read_is_written_as_it_stood(content):
    assert checked(Segment, content, "a file").written() == content


def test_parts_are_written_in_the_order_of_results_files():
    whole = {"commit": "c", "dirty": False, "versions": {"python": "3", "torch": "2", "numpy": "2"},
             "hardware": {"cpu": "a", "cores": 2, "capability": "AVX2", "system": "Linux",
                          "device": "cuda", "threads": 1} | CARD,
             "side_by_side": 2, "from_step": 0, "started_from": {"name": "a", "sha256": "b"}}
    assert json.dumps(checked(Segment, whole, "a file").written()) == json.dumps(whole)


@pytest.mark.parametrize(("change", "message"), [
    ({"commit": 3}, "commit: 3: expected text"), ({"dirty": 0}, "dirty: 0: expected true or false"),
    ({"hardware": []}, "hardware: []: expected a mapping"), ({"from_step": -1}, "at least 0"),
    ({"from_step": 1.5}, "from_step: 1.5: expected a whole number"),
    ({"versions": {}}, "expected 'versions.torch'"),
    ({"hardware": share()["hardware"] | {"threads": 0}}, "threads: 0: expected at least 1"),
    ({"started_from": "base"}, "started_from: 'base': expected a mapping")])
def test_what_is_no_segment_is_one_line(change, message):
    with pytest.raises(UserError) as e:
        checked(Segment, share() | change, "a file: segments.0")
    assert str(e.value).startswith("a file: segments.0: ") and message in str(e.value)
    assert "\n" not in str(e.value)


anything = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                        max_leaves=6)


@given(st.sampled_from(sorted(share())), anything)
def test_whatever_stands_in_a_part_it_is_typed_or_one_line(part, value):
    try:
        made = checked(Segment, share() | {part: value}, "a file")
    except UserError as e:
        assert str(e).startswith("a file: ") and len(str(e).splitlines()) == 1
    else:
        assert made.hardware.threads >= 1 and made.from_step >= 0


def test_a_machine_is_its_card_or_its_processor():
    plain = Hardware.model_validate(share()["hardware"])
    assert plain.processor == plain.machine == "a processor (AVX2)"
    assert plain.model_copy(update=CARD).machine == "A Card"
    segment = checked(Segment, share(commit="f" * 40), "a file")
    assert segment.code == "f" * 10
    assert segment.model_copy(update={"dirty": True}).code == "f" * 10 + "+changes"
