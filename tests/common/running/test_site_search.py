"""The texts that the site's search shows."""

import json
import re

from common.running.site import search

PAGE = """<body><p>Before</p><article role="main" id="c"><h1>Batch<em>es</em></h1>
<p>first<!-- not --> &lt;words&gt;</p><script>var a = "<p>not</p>";</script>
<section id="one"><h2>One<a class="headerlink" href="#one">¶</a></h2><td>a</td>
<td>x<sub>j</sub></td>
<dl><dt class="sig" id="m.f">f<span>(x)</span></dt><dd>does it</dd></dl></section>
</article><p>After</p></body>"""


def test_the_words_of_a_page_and_where_its_sections_begin():
    text, places = search.text_of(PAGE)
    assert text == "Batches first <words> One a xj f(x) does it"
    assert {k: text[at:at + 4] for k, at in places.items()} == {"one": "One ", "m.f": "f(x)"}


def test_a_page_without_a_main_part_has_no_words():
    assert search.text_of("<p>a</p>") == ("", {})


def test_the_script_holds_every_page(tmp_path):
    (tmp_path / "a" / "_static").mkdir(parents=True)
    (tmp_path / "_static").mkdir()
    (tmp_path / "a" / "b.html").write_text(PAGE)
    search.write_texts(tmp_path)
    script = (tmp_path / search.TEXTS).read_text()
    assert list(json.loads(re.fullmatch(r"const TEXTS = (.*);\n", script)[1])) == ["a/b"]
