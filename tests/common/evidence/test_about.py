"""What describes a paper: of several, the address of each."""

import pytest

from common.errors import UserError
from common.evidence.claims import read_claims

HEAD = "title: T\nauthors: A\nyear: 2000\nlink: https://l\nshows: s\npicture: p\nclaims:\n"
SEVERAL = HEAD.replace("authors: A", "authors: A & B 1989; C 1990; D")


def test_a_report_on_several_papers_has_the_address_of_each(tmp_path):
    (tmp_path / "claims.yaml").write_text(
        SEVERAL.replace("https://l", "[https://l, '', https://m]") + "  []\n")
    assert read_claims(tmp_path / "claims.yaml")[0].papers == [
        ("A & B 1989", "https://l"), ("C 1990", ""), ("D 2000", "https://m")]
    (tmp_path / "claims.yaml").write_text(HEAD + "  []\n")
    assert read_claims(tmp_path / "claims.yaml")[0].papers == [("A 2000", "https://l")]


@pytest.mark.parametrize("head, link, said", [
    (SEVERAL, "https://l", "link: 1 in it: expected an address for each of the 3 papers"),
    (SEVERAL, "[https://l, https://m]", "link: 2 in it: expected an address for each of the 3"),
    (HEAD, "[https://l, https://m]", "link: 2 in it: expected an address for each of the 1"),
    (SEVERAL, "['', '', '']", r"link: \['', '', ''\]: expected an address from http"),
    (SEVERAL, "[https://l, ftp://m, https://n]", "link: 'ftp://m': expected an address from http"),
    (SEVERAL, "[https://l, 5, https://n]", "link: 5: expected an address from http"),
    (HEAD, "['']", r"link: \[''\]: expected an address from http"),
    (HEAD, "[]", r"link: \[\]: expected an address from http")])
def test_addresses_are_as_many_as_papers(tmp_path, head, link, said):
    (tmp_path / "claims.yaml").write_text(head.replace("https://l", link) + "  []\n")
    with pytest.raises(UserError, match=rf"claims\.yaml: {said}"):
        read_claims(tmp_path / "claims.yaml")
