"""The picture of all verdicts: who stands in it, and where."""

import dataclasses
import itertools
import math

import pytest
from matplotlib.textpath import TextPath

from common.evidence import picture, plotting
from common.evidence.claims import Claim
from common.evidence.paper import Judgement, paper_names, papers
from common.evidence.picture import EDGE, scale_of
from tests.common.few import few_of


def judged(judge, values=(1.0,), published=None, interval=None, verdict="reproduced", **parts):
    claim = Claim(id="a", where="Fig. 1", says="text", published=published,
                  measure={"experiment": "e", "metric": "m"},
                  judge=judge, **parts)
    return Judgement(claim, verdict, tuple(values), interval)


@pytest.mark.parametrize(("judge", "published", "values", "places"), [
    ({"within": [-2, 2]}, 10.0, (10.0,), {8: -1, 10: 0, 12: 1, 14: 2}),
    ({"within": [-1, 3]}, 10.0, (10.0,), {9: -1, 13: 1, 10: -0.5}),
    ({"at_least": 2.0, "at_most": 4.0}, None, (3.0,), {2: -1, 3: 0, 4: 1}),
    ({"at_least": 5.0}, None, (10.0,), {5: -1, 10: EDGE - 1.5}),
    ({"at_most": 5.0}, None, (0.0,), {5: 1, 0: 1.5 - EDGE}),
    ({"exactly": 0}, 4.0, (4.0,), {4: 0, 8: 1}), ({"at_least": 0.0}, None, (0.0,), {0: -1})])
def test_the_band_reaches_from_minus_one_to_one(judge, published, values, places):
    scale = scale_of(judged(judge, values, published))
    assert {v: scale(v) for v in places} == pytest.approx(places)
    assert scale(math.inf) == math.inf


def test_a_band_with_one_end_goes_on():
    assert (scale_of(judged({"at_least": 1.0})).low, scale_of(judged({"at_least": 1.0})).high) == (
        -1, math.inf)
    assert scale_of(judged({"at_most": 1.0})).low == -math.inf


def test_intervals_of_bands_with_one_end_stay_in_the_picture():
    scale = scale_of(judged({"at_least": 0.0}, (1.0,), interval=(-30.0, 32.0)))
    assert all(abs(scale(v)) <= EDGE for v in (-20.0, 1.0, 32.0))


@pytest.mark.parametrize("judge", [{"at_least": 5.0}, {"at_most": 5.0}])
def test_how_a_band_with_one_end_is_read_is_how_it_is_drawn(judge):
    j = judged(judge, (9.0,), interval=(8.0, 25.0))
    scale = scale_of(j)
    end = -1 if "at_least" in judge else 1
    assert scale(5.0) == end and scale(25.0) - end == pytest.approx(2.5)
    assert "drawn 2.5 from it" in picture.READING


def test_statements_that_were_measured_are_rows_and_nothing_else():
    rows = [judged({"at_least": 0.0}), judged({"at_least": 0.0}, (), verdict="not run"),
            judged({"at_least": 0.0}, each="table"),
            Judgement(Claim(id="f", where="", says="", measure={"function": "g"},
                            judge={"at_least": 0}),
                      "reproduced", (1.0,))]
    assert picture.statements(rows) == rows[:1]
    assert picture.tables(rows) == {"table": rows[2:3]}
    assert picture.draw([rows[1], rows[3]]) is None
    assert picture.caption([rows[1], rows[3]]) == ""
    assert picture.caption(rows[2:3]) == picture.TABLE_CAPTION


@pytest.mark.parametrize("name", few_of(paper_names(), "batchnorm", "deep_compression", "lbfgs"))
def test_a_papers_picture_has_its_statements_and_tables(name):
    (paper,) = papers([name])
    judgements = paper.judgements()
    made, rows = picture.draw(judgements), picture.statements(judgements)
    found = picture.tables(judgements)
    assert (made is None) == (not rows and not found)
    if made is not None:
        (axes,) = made.axes
        assert [t.get_text() for t in axes.texts][:len(rows)] == [picture.label(j) for j in rows]
        drawn = [*rows, *(j for table in found.values() for j in table)]
        signs = {f"{v} ({n})" for v in picture.MARKS
                 if (n := sum(j.verdict == v for j in drawn))}
        signs |= {"band"} if rows else set()
        signs |= {"published" for j in rows if j.claim.published is not None}
        assert {t.get_text() for t in made.legends[0].get_texts()} == signs


def test_a_published_tables_rows_have_a_mark_for_every_number():
    found = [judged({"exactly": 0}, each="table", row=row, column=column, verdict=verdict)
             for row, column, verdict in (("first", "f", "reproduced"), ("first", "g", "undecided"),
                                          ("second", "f", "not reproduced"))]
    made = picture.draw(found)
    (axes,) = made.axes
    texts = {t.get_text(): t.get_position() for t in axes.texts}
    marks = {(*line.get_xdata(), *line.get_ydata()): line.get_marker() for line in axes.lines}
    (x, y), (_, below) = ((*texts["1"][:1], texts[row][1]) for row in ("first", "second"))
    other = texts["2"][0]
    assert marks == {(x, y): "o", (other, y): "s", (x, below): "X"}
    assert x < other and y < below and "Fig. 1: 0 of 2 rows agree" in axes.texts[0].get_text()


@pytest.mark.parametrize("name", ["batchnorm", "warm_start"])
def test_a_row_stands_below_its_own_text_on_a_telephone(name):
    (paper,) = papers([name])
    with plotting.style():
        rows = picture.statements(judgements := paper.judgements())
        made = picture.draw(judgements)
        made.draw_without_rendering()
    assert made.get_figwidth() * 96 <= 400
    (axes,) = made.axes
    bands = [b.get_window_extent() for b in axes.patches]
    texts = [t.get_window_extent() for t in axes.texts[:len(bands)]]
    assert axes.bbox.width > 0.9 * made.bbox.width and len(texts) == len(rows)
    for text, band in zip(texts, bands, strict=True):
        assert made.bbox.x0 <= text.x0 and text.x1 <= made.bbox.x1 and band.y1 <= text.y0
    for band, following in zip(bands[:-1], texts[1:], strict=True):
        assert following.y1 <= band.y0


@pytest.mark.parametrize("name", ["batchnorm", "warm_start"])
def test_the_scales_numbers_stand_at_both_ends_and_once_a_screen(name):
    (paper,) = papers([name])
    with plotting.style():
        made = picture.draw(paper.judgements())
        made.draw_without_rendering()
    (axes,) = made.axes
    bands = [b.get_window_extent() for b in axes.patches]
    words = [t.get_window_extent() for t in axes.texts[:len(bands)]]
    numbers = {}
    for text in axes.texts[len(bands):]:
        numbers.setdefault(text.get_text(), []).append(text.get_window_extent())
    assert list(numbers) == [picture.UNITS, "−3", "−2", "−1", "0", "1", "2", "3"]
    heights = [box.y0 for box in numbers["0"]]
    assert heights[0] > words[0].y1 and numbers["0"][-1].y1 < bands[-1].y0
    assert max(a - b for a, b in itertools.pairwise(heights)) < 6 * made.dpi
    boxes = [box for found in numbers.values() for box in found]
    assert not [box for box in boxes if box.count_overlaps([*bands, *words])]
    for x in (-1, 0, 2):  # a number stands over its place in a row
        (middle, _) = axes.transData.transform((x, 0))
        box = numbers[f"{x}".replace("-", "−")][0]
        assert (box.x0 + box.x1) / 2 == pytest.approx(middle, abs=1)


@pytest.mark.parametrize(("rows", "parts"), [(1, 1), (10, 1), (11, 2), (20, 2), (21, 3)])
def test_numbers_stand_between_parts_of_equal_height(rows, parts):
    tops, rulers, end = picture.places([picture.SCREEN / 10] * rows)
    counted = [sum(a < top < b for top in tops) for a, b in itertools.pairwise(rulers)]
    assert len(counted) == parts and max(counted) - min(counted) <= parts - 1
    assert sum(counted) == rows and end > rulers[-1] > tops[-1] and tops == sorted(tops)


def test_a_picture_of_tables_alone_has_no_scale():
    made = picture.draw([judged({"exactly": 0}, each="table", row="first", column="f")])
    assert "0" not in {t.get_text() for t in made.axes[0].texts}


@pytest.mark.parametrize(("good", "bad", "named"), [
    (0, 2, ["b0", "b1"]), (1, 1, ["b0", "g0"]), (3, 1, ["b0", "the other 3 rows"]),
    (3, 0, ["all 3 rows"])])
def test_rows_of_a_table_that_agree_share_a_line(good, bad, named):
    found = [judged({"exactly": 0}, each="table", row=f"g{n}", column=c)
             for n in range(good) for c in "fg"]
    found += [judged({"exactly": 0}, each="table", row=f"b{n}", column=c, verdict=v)
              for n in range(bad) for c, v in (("f", "reproduced"), ("g", "undecided"))]
    made = picture.draw(found)
    (axes,) = made.axes
    heights = {t.get_text(): t.get_position()[1] for t in axes.texts[3:]}
    assert list(heights) == named
    marks = {(name, line.get_marker()) for name, y in heights.items() for line in axes.lines
             if line.get_ydata()[0] == y}
    assert marks == {(name, "o") for name in named} | {(f"b{n}", "s") for n in range(bad)}
    assert len(axes.lines) == 2 * len(named)


def test_what_lies_outside_is_pointed_at():
    made = picture.draw([judged({"within": [-1, 1]}, (99.0,), 0.0, verdict="not reproduced"),
                         judged({"within": [-1, 1]}, (math.inf,), 0.0, verdict="undecided")])
    marks = [line for line in made.axes[0].lines if line.get_marker() == ">"]
    assert len(marks) == 2 and all(abs(m.get_xdata()[0]) < EDGE for m in marks)


@pytest.mark.parametrize(("value", "interval", "mark", "arrows"), [
    (0.5, (0.2, 0.8), 0.5, []), (99.0, None, 2.7, [">"]), (-99.0, (-110.0, -90.0), -2.7, ["<"]),
    (99.0, (-50.0, 250.0), 2.7, ["<", ">"]), (2.95, (2.0, 4.0), 2.7, [">"]),
    (0.5, (-50.0, 50.0), 0.5, ["<", ">"]), (-0.5, (-1.0, 50.0), -0.5, [">"])])
def test_a_mark_stands_beside_its_arrow(value, interval, mark, arrows):
    one = dataclasses.replace(judged({"within": [-1, 1]}, (value,), 0.0, verdict="undecided"),
                              interval=interval)
    lines = picture.draw([one]).axes[0].lines
    assert sorted(l.get_marker() for l in lines if l.get_marker() in "<>") == arrows
    (x,) = (l.get_xdata()[0] for l in lines if l.get_marker() == "s")
    assert x == pytest.approx(mark)


def test_a_row_is_named_as_in_the_tables():
    """"The same, with the other start" says nothing where it stands alone."""
    assert picture.label(judged({"at_least": 0.0})) == "a: text"
    long = judged({"at_least": 0.0})
    object.__setattr__(long.claim, "says", "a statement of many words " * 6 + "to its end")
    lines = picture.label(long).split("\n")
    assert " ".join(lines) == f"a: {long.claim.says}" and len(lines) > 2
    widths = [TextPath((0, 0), line, plotting.SMALLEST).get_extents().width for line in lines]
    assert picture.ROOM * 0.85 < max(widths) <= picture.ROOM
