"""Agents of the Hugging Face hub, named ``hf://USER/AGENT`` or ``hf://USER/AGENT@REVISION``.

A repository of the hub has the files of an exported agent (``alphazero export``); its model card
has the name ``README.md`` there. A repository may come from anyone: only files of these names are
downloaded, none larger than ``LARGEST`` says, and they are read as those of any other folder are,
see ``alphazero.sealed``. Nothing in them is code.

The network is used only where a text that begins with ``hf://`` names an agent.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from alphazero import hub_requests, plain_files, plain_yaml, sealed
from alphazero.agents import CARD
from alphazero.errors import one_line, reading
from alphazero.hub_requests import HubError

PREFIX = "hf://"
HUB_CARD = "README.md"
"""The model card's name on the hub, which shows it as the page of the agent."""
LARGEST = {
    sealed.MANIFEST: plain_files.TEXT,
    sealed.CONFIG: plain_yaml.LARGEST,
    sealed.WEIGHTS: 2**30,
    HUB_CARD: plain_files.TEXT,
}
"""The files that are downloaded, each with its most bytes: a network of 250 million parameters."""
UPLOAD_SECONDS = 120.0
"""The longest wait for an answer while an agent is uploaded."""
NEEDED = (sealed.MANIFEST, sealed.CONFIG, sealed.WEIGHTS)
ABANDONED_SECONDS = 24 * 3600.0
"""The age of the folder of a download that goes on no more: the slowest takes 15 hours."""
_DOWNLOADING = ".downloading-"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_]|[.-](?=[A-Za-z0-9_])){0,95}"
_ADDRESS = re.compile(rf"hf://({_NAME}/{_NAME})(?:@({_NAME}))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Address:
    """An agent of the hub."""

    repository: str
    """``USER/AGENT``."""
    revision: str | None = None
    """A branch, a tag or a commit; None: the newest commit."""

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}" + (f"@{self.revision}" if self.revision else "")

    @property
    def name(self) -> str:
        """The agent's name without that of its user."""
        return self.repository.partition("/")[2]


class RemoteFile(NamedTuple):
    """A file of a repository, as the hub lists it."""

    bytes: int
    digest: str
    """SHA-256 of a large file; of others the name that git gives it, a SHA-1."""


class Listing(NamedTuple):
    """The files of an agent at one commit, by their names on the hub."""

    commit: str
    files: dict[str, RemoteFile]


def is_address(text: str) -> bool:
    """Whether a text names an agent of the hub rather than a path."""
    return text.startswith(PREFIX)


def parse(text: str) -> Address:
    """The address in a text; ``ValueError``, one line, where it is none. Nothing is requested."""
    match = _ADDRESS.fullmatch(text)
    if not match:
        raise ValueError(
            f"{one_line(text, 100)!r} is no agent of the hub: hf://USER/AGENT or "
            "hf://USER/AGENT@REVISION"
        )
    return Address(match[1], match[2])


def split_options(text: str) -> tuple[str, str]:
    """An address and what follows it in the text of a player, behind a colon or a comma.

    ``"hf://ann/hex:seconds=1"`` gives ``("hf://ann/hex", "seconds=1")``.
    """
    rest = text.removeprefix(PREFIX)
    address, *options = re.split("[:,]", rest, maxsplit=1)
    return PREFIX + address, "".join(options)


def resolve(path: str, downloads: bool = True) -> str:
    """``path``, or the ``local_folder`` of the agent of the hub that it names.

    ``ValueError``, one line, as there, or where it names one although ``downloads`` is false.
    """
    if not is_address(path):
        return path
    if not downloads:
        raise ValueError(
            f"{parse(path)} is downloaded only where a command line names it: `alphazero agents "
            f"get {path}` writes it to a folder"
        )
    return str(local_folder(path))


def local_folder(text: str) -> Path:
    """The folder of the agent at the address ``text``, downloaded where it was not before.

    It stays in the user's cache, one folder per commit. ``ValueError``, one line: ``text`` is no
    address, ``huggingface_hub`` is not installed, the hub cannot be reached, or the repository is
    not that of an agent.
    """
    address = parse(text)
    with _named(address):
        parent = _cache() / _plain(urlsplit(hub_requests.endpoint()).netloc) / address.repository
        commit = address.revision or ""
        if not _COMMIT.fullmatch(commit) or _is_damaged(parent / commit):
            listing = _list(address)
            commit = listing.commit
            _fill(address, listing, parent / commit)
        return parent / commit


def download(text: str, folder: Path) -> str:
    """Write the agent at the address ``text`` to the new ``folder``; return its commit.

    Errors as in ``local_folder``, or ``folder`` exists; nothing is written then.
    """
    address = parse(text)
    with _named(address):
        if folder.exists():
            raise HubError(f"{folder} exists already: give a new folder")
        listing = _list(address)
        _download(address, listing, folder)
    return listing.commit


def upload(folder: Path, address: Address) -> str:
    """Add the agent in ``folder``, with its card, to its repository; the URL of the commit.

    The repository is made if there is none. ``ValueError``, one line: ``huggingface_hub`` is not
    installed, the folder is not that of an agent, or the hub refuses it.
    """
    check_target(address)
    names = {name: name for name in NEEDED} | {HUB_CARD: CARD}
    sealed.open_whole(folder)
    hub = hub_requests.library()
    hub.utils.disable_progress_bars()
    # Without a limit of its own the library waits for ever.
    hub.utils.get_session().timeout = UPLOAD_SECONDS
    with _named(address):
        api = hub.HfApi()
        api.create_repo(address.repository, exist_ok=True)
        # The bytes are read here: the library would follow links.
        added = [
            hub.CommitOperationAdd(remote, plain_files.read(folder / local, LARGEST[remote]))
            for remote, local in names.items()
        ]
        message = "An agent of alphazero"
        return str(api.create_commit(address.repository, added, commit_message=message).commit_url)


def check_target(address: Address) -> None:
    """``ValueError``, one line, where nothing can be uploaded to the address."""
    if address.revision is not None:
        raise ValueError(f"{address}: a revision is read, not written: hf://{address.repository}")
    hub_requests.library()


def _list(address: Address) -> Listing:
    """The files of ``LARGEST`` in a repository; ``HubError`` where it is not one of an agent."""
    revision = quote(address.revision or "main", safe="")
    url = f"{hub_requests.endpoint()}/api/models/{address.repository}/revision/{revision}"
    answer = hub_requests.read(f"{url}?blobs=true", plain_files.TEXT)
    with reading("the hub's list of files"):
        fields = json.loads(answer)
        entries = [(entry["rfilename"], entry) for entry in fields["siblings"]]
        files = {name: _remote_file(entry) for name, entry in entries if name in LARGEST}
        commit = fields["sha"]
        if not _COMMIT.fullmatch(commit):
            raise ValueError("it names no commit")
    for name, file in files.items():
        if not 0 <= file.bytes <= LARGEST[name]:
            raise HubError(
                f"{name} has {file.bytes:,} bytes, should have at most {LARGEST[name]:,}"
            )
    if missing := [name for name in NEEDED if name not in files]:
        raise HubError(f"it is no agent of this program: it has no {' and no '.join(missing)}")
    return Listing(commit, files)


def _remote_file(entry: dict[str, Any]) -> RemoteFile:
    """An entry of the hub's list, of whose types nothing is known."""
    large = entry.get("lfs") or {}
    digest = large.get("sha256") or entry["blobId"]
    size = entry["size"]
    if type(size) is not int or not isinstance(digest, str):
        raise ValueError("a size or a hash is missing")
    return RemoteFile(size, digest)


def _fill(address: Address, listing: Listing, folder: Path) -> None:
    """Download to a folder of the cache, unless it holds the agent already."""
    if _is_damaged(folder):
        _remove_damaged(folder)
    if not _is_damaged(folder):
        return
    try:
        _download(address, listing, folder)
    except (HubError, OSError):
        if _is_damaged(folder):  # else another process has downloaded the same meanwhile
            raise


def _remove_damaged(folder: Path) -> None:
    """Delete a damaged folder, but not a whole one that replaced it after it was looked at.

    Another process may download the same agent. What was renamed is this process's alone.
    """
    aside = _unfinished(folder)
    try:
        folder.rename(aside)
        if not _is_damaged(aside):
            aside.rename(folder)
    except OSError:  # there is none, or a third process has renamed its own into place
        pass
    shutil.rmtree(aside, ignore_errors=True)


def _unfinished(folder: Path) -> Path:
    """A new name beside ``folder``, which no reader looks at."""
    return folder.with_name(f"{_DOWNLOADING}{secrets.token_hex(8)}")


def _remove_abandoned(parent: Path) -> None:
    """Delete what processes that were killed have left in a folder."""
    newest = time.time() - ABANDONED_SECONDS
    for path in parent.glob(f"{_DOWNLOADING}{'[0-9a-f]' * 16}"):
        with suppress(OSError):  # another process has deleted it
            if path.lstat().st_mtime < newest:
                shutil.rmtree(path, ignore_errors=True)


def _download(address: Address, listing: Listing, folder: Path) -> None:
    """Write the files to the new ``folder``, compare them with their hashes, or write nothing."""
    _remove_abandoned(folder.parent)
    unfinished = _unfinished(folder)
    try:
        unfinished.mkdir(parents=True)
    except OSError as error:
        raise HubError(f"{folder.parent} cannot be written: {error.strerror}") from None
    try:
        for name, file in listing.files.items():
            url = f"{hub_requests.endpoint()}/{address.repository}/resolve/{listing.commit}/{name}"
            _write(url, file, unfinished / (CARD if name == HUB_CARD else name))
        if problem := sealed.find_damage(unfinished):
            raise HubError(problem)
        if folder.exists():
            raise HubError(f"{folder} exists already")
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(url: str, expected: RemoteFile, path: Path) -> None:
    """Download one file; ``HubError`` where it is not the one that was listed."""
    sha256 = hashlib.sha256()
    # The name of a file in git is the SHA-1 of its length and its bytes.
    git = hashlib.sha1(f"blob {expected.bytes}\0".encode(), usedforsecurity=False)
    with path.open("xb") as target:
        for piece in hub_requests.pieces(url, expected.bytes):
            sha256.update(piece)
            git.update(piece)
            target.write(piece)
    if expected.digest not in (sha256.hexdigest(), git.hexdigest()):
        raise HubError(f"{path.name} is not the file that the hub lists: its hash differs")


def _is_damaged(folder: Path) -> bool:
    """Whether the folder is not a whole agent, or not there at all."""
    return sealed.find_damage(folder) is not None


@contextmanager
def _named(address: Address) -> Iterator[None]:
    """Turn any error, the library's own included, into a ``ValueError`` that names the agent."""
    try:
        yield
    except hub_requests.MissingLibrary:
        raise
    except Exception as error:
        raise ValueError(f"{address}: {hub_requests.words(error)}") from error


def _cache() -> Path:
    """The folder of downloaded agents in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if base.startswith("~"):
        raise HubError("there is no home folder to keep it in: set XDG_CACHE_HOME")
    return Path(base) / "alphazero" / "agents"


def _plain(text: str) -> str:
    """A text as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", text)
