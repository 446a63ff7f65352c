"""A page as one HTML file that needs no network: everything is in it, and a policy forbids everything else."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.report.page.parts import Page

HERE = Path(__file__).parent
LIMIT = 3 * 10**6  # bytes of a page without overlays


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def render_page(page: Page) -> str:
    """The page's HTML. What users named is escaped by the template, and inside the data by `_embedded`."""
    css, script = (_asset(name) for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; style-src {_hashed(css)}; script-src {_hashed(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template("page.html.j2")
        .render(page=page, css=css, script=script, policy=policy, downloads=_embedded(page.downloads))
    )


def _asset(name: str) -> Markup:
    """A file of ours that stands in the page as it is."""
    return Markup((HERE / name).read_text(encoding="utf-8"))


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _embedded(value: object) -> Markup:
    """JSON inside a script element, which no text in it can end."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)
