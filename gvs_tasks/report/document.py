"""From the view of the runs to one HTML file.

Everything that comes from a run is untrusted. The template escapes it; the answers lie in a block
of data that the script puts on the page as text only; and the policy of the page runs nothing but
the one script and style that were hashed here.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gvs_tasks.report.page import Page
from gvs_tasks.writing import write_files

__all__ = ["render", "write_report"]


def render(page: Page) -> str:
    """Return the page as HTML."""
    environment = Environment(
        loader=PackageLoader("gvs_tasks.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _asset("style.css"), _asset("script.js")
    text = environment.get_template("page.html.j2").render(
        page=page,
        style=Markup(style),
        script=Markup(script),
        policy=(
            "default-src 'none'; base-uri 'none'; form-action 'none'; "
            f"style-src {_source(style)}; script-src {_source(script)}"
        ),
        data=Markup(_inert(page.browser)),
    )
    # Half a character cannot be written; it stands for nothing that can be read either.
    return text.encode("utf-8", "replace").decode("utf-8")


def write_report(page: Page, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        GVSError: When it cannot be written.
    """
    write_files({path: render(page)})


def _asset(name: str) -> str:
    return files("gvs_tasks.report").joinpath("assets", name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """Return a text's hash as a content security policy names it."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _inert(data: Mapping[str, Any]) -> str:
    """Return data as JSON that cannot end the element that it stands in."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
