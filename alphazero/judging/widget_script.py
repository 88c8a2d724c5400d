"""The board of the page as one script, which a notebook loads from the widget: no build step.

A notebook's widget is one text, so the modules that it needs are joined: each becomes a function
that returns its exports. This reads the page's own modules, which write an import in one line,
``import {a, b as c} from './x.js';``, and ``export`` before each declaration of one name; the
vendored library has one ``export{a as b,...};`` at its end.
"""

import json
import posixpath
import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE / "page"
"""The components of the page that need no server."""
ENTRY = "widget.js"
"""The module whose default export the notebook calls; names of modules are paths from ``HERE``."""
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
    return "\n".join([*parts, _without_imports(entry)])


def _text(name: str) -> str:
    return (HERE / name).read_text("utf-8")


def _collect(name: str, names: list[str]) -> None:
    """Append ``name`` behind the modules that it imports, each once."""
    for _, path in IMPORT.findall(_text(name)):
        if (other := _resolved(name, path)) not in names:
            _collect(other, names)
    names.append(name)


def _resolved(name: str, path: str) -> str:
    """The module that ``name`` imports from ``./path``."""
    return posixpath.join(posixpath.dirname(name), path)


def _variable(name: str) -> str:
    return "_" + re.sub(r"\W", "_", name)


def _without_imports(name: str) -> str:
    """A module whose imports are constants, read from the results of the other functions."""

    def constant(match: re.Match[str]) -> str:
        names = match[1].replace(" as ", ": ")
        return f"const {{{names}}} = {_variable(_resolved(name, match[2]))};"

    return IMPORT.sub(constant, _text(name))


def _function(name: str) -> str:
    """A module as a constant: the object of its exports."""
    text = _without_imports(name)
    if listed := LIST.search(text):
        pairs = [pair.split(" as ") for pair in listed[1].split(",")]
        exports = ", ".join(f"{public}: {own}" for own, public in pairs)
        text = text[: listed.start()]
    else:
        exports = ", ".join(DECLARATION.findall(text))
        text = DECLARATION.sub("", text)
    return f"const {_variable(name)} = (() => {{\n{text}\nreturn {{{exports}}};\n}})();"
