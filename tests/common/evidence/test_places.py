"""Claims by their places in a paper."""

import pytest

from common.evidence import places
from common.evidence.claims import Claim
from common.evidence.paper import Judgement


@pytest.mark.parametrize(("where", "place"), [
    ("Table 1, p. 4", "Table 1"), ("section 3.3, p. 4; Fig. 3", "Fig. 3"),
    ("G&B, Table 1 (2.21 and 1.64 there)", "G&B, Table 1"), ("Fig. 1(a)", "Fig. 1(a)"),
    ("section 4.1.1, p. 5", "section 4.1.1"), ("abstract, p. 1", "abstract"),
    ("2016, eq. (1) and Fig. 3", "2016, Fig. 3"), ("eqs. (3), (4)", "eqs. (3), (4)"),
    ("G&B, eqs. (9), (11)", "G&B, eqs. (9), (11)"), ("eqs. (15)–(17), p. 3", "eqs. (15)–(17)"),
    ("Klambauer et al., theorem 1", "Klambauer et al., theorem 1"),
    ("Moré, Garbow & Hillstrom 1981, section 3, problem 1",
     "Moré, Garbow & Hillstrom 1981, section 3"),
    ("section 4.2, Fig. 6 left", "Fig. 6"), ("ours", "ours"),
    ("Hopfield 1982, pp. 2556–2557", "Hopfield 1982, pp. 2556–2557")])
def test_a_claims_place(where, place):
    assert places.place_in_paper(where) == place


def test_single_claims_stand_together_behind_the_groups():
    js = [Judgement(Claim(id=i, where=w, says="s"), "undecided", (1.0,)) for i, w in (
        ("a", "Fig. 1"), ("b", "Table 2"), ("c", "Fig. 3"), ("d", "Table 2, p. 5"))]
    found = {where: [j.claim.id for j in group] for where, group in places.by_place(js).items()}
    assert found == {"Table 2": ["b", "d"], places.ELSEWHERE: ["a", "c"]}
    assert list(places.by_place(js[:1])) == [""], "no heading for what is alone"


def test_places_of_several_claims_are_each_named_once():
    js = [Judgement(Claim(id=i, where=w, says="s"), "undecided") for i, w in (
        ("a", "2016, Table 2"), ("b", "2015, Table 2"), ("c", "2016, Table 2, p. 3"))]
    assert places.places(js) == "2016, Table 2 and 2015, Table 2"
