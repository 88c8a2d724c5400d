"""Configurations in a folder of the package, by name, or anywhere, by path."""

import stat
from importlib.resources.abc import Traversable
from pathlib import Path

from alphazero import plain_yaml
from alphazero.config_file import ConfigError, nearest
from games.spec import shown


def find(
    name_or_path: str, folder: Traversable, elsewhere: tuple[str, Traversable] | None = None
) -> tuple[str, str]:
    """A configuration's name for messages, and its text; from a name in ``folder`` or a path.

    ``elsewhere``: another command that has configurations, and their folder, for the message.
    ``ConfigError``, one line: there is none, or it cannot be read.
    """
    if name_or_path in names(folder):
        file = folder / f"{name_or_path}.yaml"
        return file.name, file.read_text(encoding="utf-8")
    path = Path(name_or_path).expanduser()
    try:
        if stat.S_ISREG(mode := path.stat().st_mode):
            return str(path), plain_yaml.read_text(path)
    except plain_yaml.NotPlainYaml as error:
        raise ConfigError([f"{path}: {error}"]) from None
    except (FileNotFoundError, NotADirectoryError):
        is_path = _is_path(name_or_path)
        kind, others = ("file", _beside) if is_path else ("configuration", _others)
        hint = others(path, folder)
        if elsewhere and name_or_path in names(elsewhere[1]):
            hint = f"; did you mean {elsewhere[0]} {name_or_path}?"
        raise ConfigError([f"there is no {kind} {shown(name_or_path)}{hint}"]) from None
    except (OSError, ValueError) as error:  # ValueError: the path has a null character
        reason = getattr(error, "strerror", None) or error
        raise ConfigError([f"{shown(name_or_path)} cannot be read: {reason}"]) from None
    inside = path / "config.yaml"
    hint = f"; did you mean {inside}?" if inside.is_file() else ""
    raise ConfigError([f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'no file'}{hint}"])


def _is_path(text: str) -> bool:
    """Whether a text that names nothing was written as the path of a file, not as a name."""
    return "=" not in text and ("/" in text or text.endswith((".yaml", ".yml")))


def _beside(path: Path, folder: Traversable) -> str:
    """The file of almost the same name, or the configuration of the package, that may be meant."""
    if (beside := path.with_name(f"{path.name}.yaml")).is_file():
        return f"; did you mean {beside}?"
    return nearest(path.stem, names(folder))


def _others(path: Path, folder: Traversable) -> str:
    """The configurations that may be meant by a word that is neither a name nor a file."""
    if "=" in path.name:
        return ", which is a setting: the configuration or game comes before the settings"
    known, word = names(folder), path.stem.lower()
    if hint := _beside(path, folder):
        return hint
    texts = [(folder / f"{name}.yaml").read_text(encoding="utf-8").lower() for name in known]
    mentioning = [name for name, text in zip(known, texts, strict=True) if word in text]
    mentioned = f"; {word} is mentioned in {', '.join(mentioning)}" if 2 < len(word) < 20 else ""
    return f"{mentioned if mentioning else ''}; the names are {', '.join(known)}"


def names(folder: Traversable) -> list[str]:
    """The configurations in ``folder``."""
    return sorted(file.name[:-5] for file in folder.iterdir() if file.name.endswith(".yaml"))
