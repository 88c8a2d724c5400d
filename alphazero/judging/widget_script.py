"""The board of the page as one script, which a notebook loads from the widget: no build step.

A notebook's widget is one text, so the modules that it needs are joined: each becomes a function
that returns its exports. This reads the page's own modules, which write an import in one line,
``import {a, b as c} from './x.js';``, and ``export`` before each declaration of one name; the
vendored library has one ``export{a as b,...};`` at its end.
"""

import json
import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "page"
"""The components of the page that need no server."""
ENTRY = "widget.js"
"""The module whose default export the notebook calls."""
IMPORT = re.compile(r"^import \{([^}]*)\} from '\./([\w/.-]+)';$", re.MULTILINE)
DECLARATION = re.compile(r"^export (?=(?:const|function) (\w+))", re.MULTILINE)
LIST = re.compile(r"\bexport ?\{([^}]*)\};?\s*$")
ADDITION = """
.notebook { background: var(--page); color: var(--text); font: 16px/1.45 system-ui, sans-serif;
  padding: 8px; max-width: 560px; }
"""


@cache
def script() -> str:
    """The whole script, an ECMAScript module without imports."""
    names: list[str] = []
    _collect(ENTRY, names)
    *modules, entry = names
    style = (FOLDER / "style.css").read_text("utf-8").replace(":root", ":host") + ADDITION
    parts = [f"const STYLE = {json.dumps(style)};", *map(_function, modules)]
    return "\n".join([*parts, _without_imports(_text(entry))])


def _text(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


def _collect(name: str, names: list[str]) -> None:
    """Append the modules that ``name`` imports, each behind those that it imports itself."""
    for _, other in IMPORT.findall(_text(name)):
        if other not in names:
            _collect(other, names)
    names.append(name)


def _variable(name: str) -> str:
    return "_" + re.sub(r"\W", "_", name)


def _without_imports(text: str) -> str:
    """Imports become constants that are read from the functions' results."""
    return IMPORT.sub(
        lambda found: (
            f"const {{{found[1].replace(' as ', ': ')}}} = {_variable(found[2])};"
        ),
        text,
    )  # fmt: skip


def _function(name: str) -> str:
    """A module as a constant: the object of its exports."""
    text = _without_imports(_text(name))
    if listed := LIST.search(text):
        pairs = [pair.split(" as ") for pair in listed[1].split(",")]
        exports = ", ".join(f"{public}: {own}" for own, public in pairs)
        text = text[: listed.start()]
    else:
        exports = ", ".join(DECLARATION.findall(text))
        text = DECLARATION.sub("", text)
    return f"const {_variable(name)} = (() => {{\n{text}\nreturn {{{exports}}};\n}})();"
