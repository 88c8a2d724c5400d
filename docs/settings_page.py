"""The pages of all settings, made from the schema of the configurations.

    python docs/settings_page.py                  # writes docs/reference/*settings.md
    python docs/settings_page.py --check          # exit status 1 where one of them is out of date

Types, ranges and defaults come from pydantic's JSON schema, texts from the docstrings below the
fields in the source.
"""

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter

from alphazero.addresses import ByAddress
from alphazero.config import Config
from alphazero.ranges import LARGEST
from alphazero.supervised.config import SupervisedConfig

FOLDER = Path(__file__).parent / "reference"

SELF_PLAY = """\
# Settings

<!-- Made by `python docs/settings_page.py`; edit the docstrings in the source instead. -->

A configuration is a YAML file with any of these keys, each in its section. What it does not name
is filled by [the recipe](../recipe.md), or keeps its default with `recipe: none`. On the command
line a key is given with its section, as `training.steps=2000`. It may be shortened to its last
parts where no other key ends in them. All errors are reported at once, each with the file, the line
and the key.

```bash
alphazero train connect_four_quick blocks=6 'search={kind: puct}'
```
"""

SUPERVISED = """\
# Settings of supervised models

<!-- Made by `python docs/settings_page.py`; edit the docstrings in the source instead. -->

The keys of the configurations of `alphazero supervised train`, which are in `configs/supervised`.

```bash
alphazero supervised train cnn fit.epochs=3 model.dropout=0.5
```
"""

PAGES = {
    FOLDER / "settings.md": (Config, SELF_PLAY),
    FOLDER / "supervised_settings.md": (SupervisedConfig, SUPERVISED),
}


@dataclass(frozen=True)
class Setting:
    """One row of a table."""

    key: str
    default: str
    values: str
    meaning: str

    def row(self) -> str:
        cells = (f"`{self.key}`", self.default, self.values, self.meaning)
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page(config: type, introduction: str) -> str:
    """The whole page of a configuration as Markdown."""
    return "\n".join([introduction, *_chapters(config)])


def _chapters(config: type) -> Iterator[str]:
    hints = get_type_hints(config, include_extras=True)
    sections = {field.name: _records(hints[field.name]) for field in fields(config)}
    yield "## Top level\n"
    yield _table(config, [name for name, records in sections.items() if not records])
    for name, records in sections.items():
        if records:
            yield f"## {name}\n"
        for record in records:
            if len(records) > 1:
                yield f"### {name}.kind: {_kind(record)}\n"
            yield from _section(record, name)


def _section(record: type, section: str) -> Iterator[str]:
    text = inspect.getdoc(record) or ""
    if text and not text.startswith(f"{record.__name__}("):  # a signature: dataclass's own text
        yield text.replace("``", "`") + "\n"
    hints = get_type_hints(record, include_extras=True)
    names = [field.name for field in fields(record) if field.name != "options"]
    if plain := [name for name in names if not _records(hints[name])]:
        yield _table(record, plain)
    for name in names:
        for inner in _records(hints[name]):
            yield f"#### {section}.{name}\n"
            yield from _section(inner, f"{section}.{name}")


def _records(hint: Any) -> list[type]:
    """The dataclasses that a field may hold; none for a plain value."""
    if isinstance(hint, type) and is_dataclass(hint):
        return [hint]
    return [record for part in get_args(hint) for record in _records(part)]


def _kind(record: Any) -> str:
    if issubclass(record, ByAddress):
        return "module:Class"
    return str(next(field.default for field in fields(record) if field.name == "kind"))


def _table(record: type, names: list[str]) -> str:
    schema = TypeAdapter(record).json_schema()
    texts, made = (
        docstrings(record),
        {field.name: field.default_factory for field in fields(record)},
    )
    rows = ["| Key | Default | Values | Meaning |", "|---|---|---|---|"]
    for name in names:
        entry = schema["properties"][name]
        default = "required" if "default" not in entry else _shown(entry["default"])
        if (factory := made[name]) is not MISSING:
            default = _shown(factory())
        setting = Setting(name, default, _values(entry), texts.get(name, ""))
        rows.append(setting.row())
    return "\n".join(rows) + "\n"


def _shown(value: Any) -> str:
    return (
        "none" if value is None else f"`{value if isinstance(value, str) else json.dumps(value)}`"
    )


def _values(entry: dict[str, Any]) -> str:
    """The type and range in a field's schema, in words."""
    if "anyOf" in entry:
        return " or ".join(_values(choice) for choice in entry["anyOf"])
    if "enum" in entry or "const" in entry:
        return ", ".join(f"`{value}`" for value in entry.get("enum", [entry.get("const")]))
    match entry.get("type"):
        case "null":
            return "none"
        case "boolean":
            return "`true`, `false`"
        case "array":
            return f"list of: {_values(entry['items'])}" if "items" in entry else "list"
        case "string":
            return "text"
        case "object":
            return f"names, each with a {_values(entry['additionalProperties'])}"
    word = "whole number" if entry.get("type") == "integer" else "number"
    limits = (
        ("minimum", "≥"),
        ("exclusiveMinimum", ">"),
        ("maximum", "≤"),
        ("exclusiveMaximum", "<"),
    )
    shown = [
        f"{sign} {entry[key]:,}" if isinstance(entry[key], int) else f"{sign} {entry[key]:g}"
        for key, sign in limits
        if key in entry and entry[key] < LARGEST  # a larger bound is only for typing errors
    ]
    return " ".join([word, ", ".join(shown)]).strip()


def docstrings(record: type) -> dict[str, str]:
    """The string literals below the fields of ``record`` and of its bases, in one line each."""
    texts: dict[str, str] = {}
    for base in reversed(record.__mro__[:-1]):
        node = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(node, ast.ClassDef)
        for field, below in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = _literal(below)
                if text:
                    texts[field.target.id] = " ".join(text.split()).replace("``", "`")
    return texts


def _literal(node: ast.stmt) -> str:
    value = node.value if isinstance(node, ast.Expr) else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def main(arguments: list[str]) -> int:
    """Write every page, or with ``--check`` compare it with its file."""
    texts = {path: page(config, introduction) for path, (config, introduction) in PAGES.items()}
    if arguments == ["--check"]:
        old = [path for path, text in texts.items() if path.read_text(encoding="utf-8") != text]
        for path in old:
            print(f"{path} is out of date: run python docs/settings_page.py", file=sys.stderr)
        return 1 if old else 0
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
