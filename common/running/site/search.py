"""The words around what a search finds, without a server.

Sphinx's search fetches every page it found and shows some of its text; a browser forbids that to a
page opened as a file. So the text of all pages lies in one script, which the search's page alone
loads, and :file:`excerpts.js` shows what is around the words.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

TEXTS = "_static/texts.js"

PAGE = '''{% extends "!search.html" %}
{% block content %}
<form class="search" role="search" action="search.html">
<input type="search" name="q" aria-label="words to find" placeholder="words to find">
<button>Search</button>
</form>
{{ super() }}
{% endblock %}
{% block scripts %}{{ super() }}
<script src="{{ pathto("_static/texts.js", 1) }}"></script>
<script src="{{ pathto("_static/excerpts.js", 1) }}"></script>
{% endblock %}
'''
"""Template of the page: Sphinx's own with a form, which a phone's folded sidebar hides."""

MAIN = re.compile(r'<article role="main"[^>]*>(.*)</article>', re.DOTALL)
UNREAD = re.compile(r'<a class="headerlink".*?</a>|<(script|style|svg)\b.*?</\1>|<!--.*?-->',
                    re.DOTALL)
PLACE = re.compile(r'<(?:section|dt)\b[^>]*\bid="([^"]+)"[^>]*>')
INLINE = re.compile(r"</?(?:a|abbr|b|code|em|i|m[a-z]+|small|span|strong|sub|sup)\b[^>]*>")
"""Tags that end no word; those with m are of formulas."""


def text_of(page: str) -> tuple[str, dict[str, int]]:
    """The words of a page's main part, and where in them each of its sections begins.

    Args:
        page: HTML.
    """
    found = MAIN.search(page)
    marked = PLACE.sub("\0\\1\0", UNREAD.sub("", found[1] if found else ""))
    first, *rest = (" ".join(html.unescape(re.sub(r"<[^>]+>", " ", INLINE.sub("", part))).split())
                    for part in marked.split("\0"))
    text, places = first, {}
    for name, part in zip(rest[::2], rest[1::2], strict=True):
        places[name] = len(text) + 1
        text += f" {part}"
    return text, places


def write_texts(site: Path) -> None:
    """Write the script with the text of every page.

    Args:
        site: a folder that Sphinx built.
    """
    pages = {p.relative_to(site).with_suffix("").as_posix(): text_of(p.read_text(encoding="utf-8"))
             for p in sorted(site.rglob("*.html"))}
    text = json.dumps(pages, ensure_ascii=False, separators=(",", ":"))
    (site / TEXTS).write_text(f"const TEXTS = {text};\n", encoding="utf-8")
