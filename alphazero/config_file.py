"""Settings from a YAML file and ``key.sub=value`` overrides, with every error at once.

Works for any frozen pydantic dataclass whose fields are values or further such dataclasses;
``alphazero.config`` and ``alphazero.supervised.config`` define the settings themselves.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from alphazero import plain_yaml
from alphazero.addresses import ADDRESS, ByAddress
from alphazero.errors import one_line, requirement
from games.spec import closest, shown

T = TypeVar("T")

Checks = Mapping[str, Callable[[str], object]]
"""By dotted key, a function that raises ``ValueError`` for an invalid text."""

Fill = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""From the values as given to those of keys that may be missing."""

COMMAND_LINE = "command line"
MOST_ERRORS, LONGEST = 20, 600
"""Errors of a configuration that are named, and characters of each."""
DEEPEST_KEY = 6
"""Parts of an override's key, at most."""
SYNONYMS = {"epoch": "steps", "epochs": "steps"}
"""Names that other programs give to a setting, for messages where no name here is similar."""


class ConfigError(ValueError):
    """An invalid configuration; ``lines`` has one entry per error, ``MOST_ERRORS`` at most."""

    def __init__(self, lines: Sequence[str]):
        named = [one_line(line, LONGEST) for line in lines[:MOST_ERRORS]]
        if len(lines) > MOST_ERRORS:
            named.append(f"{len(lines) - MOST_ERRORS:,} more errors")
        self.lines = tuple(named)
        super().__init__("\n".join(named))


@dataclass
class _Draft:
    """The values as given, before validation, and the place where each one was given."""

    name: str
    values: dict[str, Any]
    origins: dict[str, str]
    errors: list[str]

    def origin(self, key: str) -> str:
        """The place where ``key`` was given, else that of a key below it, else of its section.

        Of several the command line, which replaces what stands in the file.
        """
        places = [place for given, place in self.origins.items() if _within(given, key)]
        if places:
            return COMMAND_LINE if COMMAND_LINE in places else places[0]
        parent = key.rpartition(".")[0]
        return self.origin(parent) if parent else self.name

    def refuse(self, key: str, problem: str) -> None:
        """Add an error; ``key`` is empty where the problem concerns several keys together."""
        origin = self.origin(key)
        if not key and COMMAND_LINE in self.origins.values():
            origin = f"{self.name} and {COMMAND_LINE}"
        self.errors.append(": ".join(filter(None, (origin, key, problem))))


def parse(
    kind: type[T],
    text: str,
    name: str,
    overrides: Sequence[str] = (),
    checks: Checks | None = None,
    fill: Fill | None = None,
    obsolete: Collection[str] = (),
) -> T:
    """A ``kind`` from YAML ``text`` (called ``name`` in messages) and ``key.sub=value`` overrides.

    An override's value is YAML too, so ``search={kind: puct}`` replaces a whole section; of two
    overrides of one key the later one counts. Its key may be shortened to its last parts where no
    other setting ends in them: ``learning_rate=1e-3``. ``fill`` gives values for keys that are not
    given. ``obsolete`` keys are dropped: those of files that an earlier version has written. Raises
    ``ConfigError`` with all errors.
    """
    draft, known = _read(kind, text, name), paths(kind)
    drop(draft.values, obsolete)
    for override in overrides:
        _apply(draft, override, known)
    _fill_open(draft.values, fill(draft.values) if fill else {})
    _fill_kinds(kind, draft)
    settings = None
    try:
        settings = TypeAdapter(kind).validate_python(draft.values)
    except ValidationError as error:
        _explain(kind, error, draft)
    for key, check in (checks or {}).items():
        _check(draft, key, check)
    if draft.errors or settings is None:
        raise ConfigError(draft.errors)
    return settings


def drop(values: dict[str, Any], keys: Iterable[str]) -> None:
    """Delete dotted ``keys`` from the sections in ``values``, where they are."""
    for key in keys:
        section, _, last = key.rpartition(".")
        if isinstance(inner := values.get(section), dict):
            inner.pop(last, None)


def as_dict(settings: Any) -> dict[str, Any]:
    """A pydantic dataclass as plain dictionaries, lists and values, defaults included."""
    return TypeAdapter(type(settings)).dump_python(settings, mode="json")


def as_yaml(settings: Any) -> str:
    """``as_dict`` as YAML text, which ``parse`` reads back unchanged."""
    return plain_yaml.dump(as_dict(settings))


def nearest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean x?"``, or nothing where no known word is close."""
    match = closest(word, known)
    return f"; did you mean {match}?" if match else ""


def _read(kind: Any, text: str, name: str) -> _Draft:
    draft = _Draft(name, {}, {}, [])
    try:
        node = plain_yaml.compose(text)
        values = plain_yaml.plain(node)
    except plain_yaml.NotPlainYaml as error:
        where = f"{name}:{error.line}" if error.line else name
        raise ConfigError([f"{where}: not YAML: {error}"]) from None
    if not isinstance(values, dict | None):
        raise ConfigError([f"{name}: should hold lines of the form 'key: value'"])
    if isinstance(node, yaml.MappingNode):
        _note_lines(draft, node, "")
    # "training:" with every key below it commented out is an empty section, not a missing value.
    given = {str(key): value for key, value in (values or {}).items()}
    empty = [key for key in given if given[key] is None and _sections(kind).get(key, (kind,))]
    draft.values = {key: value for key, value in given.items() if key not in empty}
    return draft


def _note_lines(draft: _Draft, node: yaml.MappingNode, prefix: str) -> None:
    """Note the line of every key, and report duplicates, which YAML would accept without a word."""
    for key_node, value_node in node.value:
        key = f"{prefix}{key_node.value}"
        place = f"{draft.name}:{key_node.start_mark.line + 1}"
        if key in draft.origins:
            draft.errors.append(f"{place}: {key}: given twice, first at {draft.origins[key]}")
        draft.origins[key] = place
        if isinstance(value_node, yaml.MappingNode):
            _note_lines(draft, value_node, f"{key}.")


def _within(key: str, section: str) -> bool:
    return key == section or key.startswith(f"{section}.")


def _apply(draft: _Draft, override: str, known: Sequence[str]) -> None:
    key, equals, text = override.partition("=")
    path = in_full(key.strip(), known).split(".")
    written = f"{COMMAND_LINE}: {shown(override)}"
    if not equals or not all(path) or len(path) > DEEPEST_KEY:
        draft.errors.append(f"{written}: should be key.sub=value, as in training.steps=1000")
        return
    try:
        value = plain_yaml.load(text)
    except plain_yaml.NotPlainYaml as error:
        draft.errors.append(f"{written}: the value is not YAML: {error}")
        return
    section = draft.values
    for part in path[:-1]:
        section = section.setdefault(part, {})
        if not isinstance(section, dict):
            draft.errors.append(f"{written}: {part} is a value, not a section")
            return
    section[path[-1]] = value
    dotted = ".".join(path)
    for given in [given for given in draft.origins if _within(given, dotted)]:
        del draft.origins[given]
    draft.origins[dotted] = COMMAND_LINE


def in_full(key: str, known: Sequence[str]) -> str:
    """The only key of ``known`` that ends in ``key``, where there is one; else ``key`` itself."""
    longer = [path for path in known if path.endswith(f".{key}")]
    return longer[0] if key not in known and len(longer) == 1 else key


def _choices(hint: Any) -> tuple[type, ...]:
    """The dataclasses a field may hold: none for a plain value, several where ``kind`` decides."""
    hint = _bare(hint)
    return tuple(
        choice
        for choice in map(_bare, (hint, *get_args(hint)))
        if isinstance(choice, type) and is_dataclass(choice)
    )


def _bare(hint: Any) -> Any:
    """A type without its annotations."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


@cache
def _sections(kind: Any) -> dict[str, tuple[type, ...]]:
    """The keys of a dataclass and the dataclasses that each may hold.

    Without the ``options`` of ``ByAddress``: those are keys of the user's class.
    """
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in fields(kind)]
    if issubclass(kind, ByAddress):
        names.remove("options")
    return {name: _choices(hints[name]) for name in names}


def _kind(choice: Any) -> str:
    """The value of ``kind`` that selects the dataclass ``choice``: the default of that field."""
    if issubclass(choice, ByAddress):
        return ADDRESS
    return str(next(field.default for field in fields(choice) if field.name == "kind"))


def _fill_open(values: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add those of ``more`` that ``values`` lack, section by section.

    A section of another ``kind`` gets none, because its keys mean something else.
    """
    for key, value in more.items():
        given = values.setdefault(key, value)
        section = isinstance(given, dict) and isinstance(value, Mapping)
        if section and given.get("kind", value.get("kind")) == value.get("kind"):
            values[key] = {**value, **given}


def _fill_kinds(kind: Any, draft: _Draft) -> None:
    """Where a section may be of several kinds and names none, set that of the default."""
    for field in fields(kind):
        section = draft.values.get(field.name)
        if len(_sections(kind)[field.name]) > 1 and isinstance(section, dict):
            section.setdefault("kind", _kind(type(field.default)))


def _explain(kind: Any, error: ValidationError, draft: _Draft) -> None:
    """Turn pydantic's errors into one line per key, in the words of the file."""
    problems: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False):
        key, section = _locate(kind, detail["loc"])
        key += ".kind" if detail["type"] == "union_tag_invalid" else ""
        if len(problems) >= MOST_ERRORS and key not in problems:
            draft.errors.append(key)  # counted, not shown
            continue
        problem = _problem(kind, key, section, dict(detail), draft)
        if key in problems:  # each branch of a union reports the same value
            problem = problem.removeprefix(f"got {shown(detail['input'])}, ")
        problems.setdefault(key, []).append(problem)
    for key, alternatives in problems.items():
        draft.refuse(key, ", or ".join(alternatives))


def _locate(kind: Any, location: tuple[int | str, ...]) -> tuple[str, Any]:
    """The dotted key of a pydantic location, and the dataclass the key was looked up in.

    Pydantic puts the chosen kind (``search.puct.simulations``) and the branch of a union
    (``selfplay.workers.constrained-int``) into its locations; neither stands in the file.
    """
    key, section, parts = "", kind, list(location)
    while parts:
        part = parts.pop(0)
        if isinstance(part, int):
            return f"{key}[{part}]", section
        key = f"{key}.{part}" if key else part
        choices = _sections(section).get(part, ())
        if len(choices) > 1 and parts:
            chosen = parts.pop(0)
            choices = tuple(choice for choice in choices if _kind(choice) == chosen)
        if not choices or not parts:
            break
        section = choices[0]
    index = "".join(f"[{part}]" for part in parts if isinstance(part, int))
    return key + index, section


def _problem(kind: Any, key: str, section: Any, detail: dict[str, Any], draft: _Draft) -> str:
    match detail["type"]:
        case "unexpected_keyword_argument":
            return _unknown(kind, key, section, draft)
        case "missing":
            return "has no value and no default"
        case "union_tag_invalid":
            given, tags = detail["ctx"]["tag"], detail["ctx"]["expected_tags"].replace("'", "")
            known = [tag for tag in tags.split(", ") if tag != ADDRESS]
            own = ", or the address module:Class of your own" if ADDRESS in tags else ""
            rule = f"should be one of {', '.join(known)}{own}"
            return f"got {shown(given)}, {rule}{nearest(given, known)}"
        case "value_error":
            return str(detail["ctx"]["error"])
        case "dataclass_type" | "dataclass_exact_type":
            return f"got {shown(detail['input'])}, should be a section with keys of its own"
    return f"got {shown(detail['input'])}, {requirement(detail)}"


def _unknown(kind: Any, key: str, section: Any, draft: _Draft) -> str:
    """The message for a key that ``section`` does not have."""
    parent, _, leaf = key.rpartition(".")
    for choice in _sections(kind).get(parent, ()):
        if leaf in _sections(choice):
            own = _kind(section)
            return (
                f"belongs to {parent}.kind={_kind(choice)}, but {parent}.kind is {own} "
                f"({draft.origin(f'{parent}.kind')}); take the key out, or replace the whole "
                f"section: '{parent}={{kind: {own}}}'"
            )
    own = list(_sections(section))
    if keys := meant(key, paths(kind), own):
        return f"unknown key; did you mean {' or '.join(keys)}?"
    return f"unknown key; known here: {', '.join(f'{parent}.{name}'.lstrip('.') for name in own)}"


def meant(key: str, known: Sequence[str], beside: Sequence[str] = ()) -> list[str]:
    """The keys of ``known`` that an unknown ``key`` may mean, by its last part: the same, similar
    or a synonym. ``beside``: names in the section where it was looked up, which are preferred.
    """
    parent, _, leaf = key.rpartition(".")
    leaves = dict.fromkeys(path.rpartition(".")[2] for path in known)
    near = closest(leaf, beside) or closest(leaf, leaves) or SYNONYMS.get(leaf)
    name = leaf if leaf in leaves else near
    if name in beside:
        return [f"{parent}.{name}".lstrip(".")]
    return [path for path in known if path.rpartition(".")[2] == name]


@cache
def paths(kind: Any, prefix: str = "") -> tuple[str, ...]:
    """Every dotted key below ``kind``, those of all kinds of its sections included."""
    keys: list[str] = []
    for name, choices in _sections(kind).items():
        keys.append(f"{prefix}{name}")
        for choice in choices:
            keys += [key for key in paths(choice, f"{prefix}{name}.") if key not in keys]
    return tuple(keys)


def _check(draft: _Draft, key: str, check: Callable[[Any], object]) -> None:
    value: Any = draft.values
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, str):
        try:
            check(value)
        except ValueError as error:
            draft.refuse(key, str(error))
