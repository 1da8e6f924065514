"""A page in Markdown, its figures included, as one HTML file that needs nothing beside it and loads nothing."""

import base64
import re
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

SCROLLED = '<div class="scroll" role="region" aria-label="table" tabindex="0">\n<table>\n'
"""A table that is wider than the page can be scrolled, by keyboard, too."""


def write_document(text: str, path: Path) -> None:
    """Write the HTML file `path` from a page in Markdown whose pictures are SVG files named relative to its folder.

    HTML in the page is shown as text; the title is the first heading. Raises FileNotFoundError for a missing picture.
    """
    folder = path.parent
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.add_render_rule("image", lambda _, tokens, place, *__: _figure(tokens[place], folder))
    reader.add_render_rule("table_open", lambda *_: SCROLLED)
    reader.add_render_rule("table_close", lambda *_: "</table>\n</div>\n")
    heading = re.search(r"^# (.+)$", text, re.MULTILINE)
    environment = Environment(
        loader=PackageLoader("ensemble_ad.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("document.html").render(
        title=heading[1] if heading else folder.name,
        body=Markup(reader.render(text)),  # noqa: S704 - the reader escapes what is not Markdown
        style=Markup(resources.files("ensemble_ad.report").joinpath("style.css").read_text("utf-8")),  # noqa: S704
    )
    path.write_text(page, encoding="utf-8")


def _figure(token: Token, folder: Path) -> str:
    drawn = base64.b64encode((folder / str(token.attrs["src"])).read_bytes()).decode("ascii")
    return f'<img class="drawn" alt="{Markup.escape(token.content)}" src="data:image/svg+xml;base64,{drawn}">'
