"""Ray's token: who reaches the ports of a cluster without it can run code on its machines.

Ray from 2.59 on starts a cluster of this machine with a token where ``RAY_AUTH_MODE`` is not set;
an environment that says ``disabled`` would start an open one. So any other mode is refused, the
token lies in a file that only its owner reads, and a call without it has to fail.
"""

import os
import secrets
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from alphazero.errors import RunFailed

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
PROOF_SECONDS = 60.0
"""The longest time that a call without the token may take to fail."""
REFUSED = 3
OTHER_TOKEN = (
    "ray {}: the token here is not that of the cluster; copy ~/.ray/auth_token from its first "
    "machine, or set RAY_AUTH_TOKEN"
)
PROBE = f"""
import sys
from ray.exceptions import AuthenticationError
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1]).internal_kv_keys(b"", None, timeout=20)
except AuthenticationError:
    sys.exit({REFUSED})
"""


def mode() -> str | None:
    """The value of ``RAY_AUTH_MODE`` in this process; None where it is not set."""
    return os.environ.get(MODE)


def require_token(address: str, chosen: str | None) -> None:
    """Raise ``ValueError`` unless ``chosen``, the value of ``RAY_AUTH_MODE``, is ``token``.

    For a cluster that is started here it may also be unset (None): Ray then chooses ``token``.
    """
    if address == "local":
        if chosen is not None and chosen.lower() != "token":
            raise ValueError(
                f"ray local: {MODE}={chosen} in the environment would let every process that "
                f"reaches this machine's ports run code on it; remove it or set {MODE}=token"
            )
    elif (chosen or "").lower() != "token":
        raise ValueError(
            f"ray {address}: a cluster needs token authentication, for every process that reaches "
            "its ports can run code on it; make a token with `ray get-auth-token --generate`, copy "
            f"~/.ray/auth_token to every node, and set {MODE}=token for `ray start` and here"
        )


def keep_token() -> None:
    """Have a token for Ray, where Ray looks for it, in a file that only its owner can read.

    One that is in the environment stays. Where the home folder cannot be written, the file is in a
    new temporary folder. ``ValueError`` for a file that others can read and that is not ours.
    """
    if os.environ.get(TOKEN):
        return
    path = Path(os.environ.get(TOKEN_PATH) or Path.home() / ".ray" / "auth_token")
    if path.exists():
        _make_private(path)
        return
    try:
        path.parent.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        _write_new(path)
    except OSError:
        path = Path(tempfile.mkdtemp(prefix="alphazero-ray-")) / "auth_token"
        _write_new(path)
        os.environ[TOKEN_PATH] = str(path)


@cache
def prove_token(address: str) -> None:
    """Call the cluster at host:port without the token; returns once that call was refused.

    ``ValueError`` where it is answered, ``RunFailed`` where neither happens. The call is made in
    another process, because Ray reads the mode once per process.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    try:
        ended = _call(address, environment | {MODE: "disabled"})
    except subprocess.TimeoutExpired:
        reason = f"no answer in {PROOF_SECONDS:g} s"
    else:
        if ended.returncode == REFUSED:
            return
        if ended.returncode == 0:
            raise ValueError(
                f"ray {address}: this cluster answers calls without the token, so that every "
                "process that reaches its ports can run code on it; start it again with "
                f"{MODE}=token"
            )
        reason = (ended.stderr.strip().splitlines() or ["no reason was given"])[-1]
    raise RunFailed(f"ray {address}: nothing shows that this cluster requires a token: {reason}")


def has_other_token(address: str) -> bool:
    """Whether the cluster at host:port refuses a call with this process's own token."""
    try:
        return _call(address, dict(os.environ)).returncode == REFUSED
    except subprocess.TimeoutExpired:
        return False


def _call(address: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Call the cluster from another process, whose exit status is ``REFUSED`` for a wrong token."""
    return subprocess.run(
        # -P: no module of the current folder is imported.
        [sys.executable, "-P", "-c", PROBE, address],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PROOF_SECONDS,
    )


def _write_new(path: Path) -> None:
    """Write a new token; two processes that do so at the same time both end with the first's."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    try:
        os.link(part, path)
    except FileExistsError:
        pass
    finally:
        part.unlink()


def _make_private(path: Path) -> None:
    """Take the rights of group and others from the token's file, and from Ray's own folder."""
    ours = path.parent == Path.home() / ".ray"
    for place, rights in [(path, PRIVATE_FILE), (path.parent, PRIVATE_FOLDER)][: 1 + ours]:
        if place.stat().st_mode & 0o077:
            try:
                place.chmod(rights)
            except OSError as error:
                raise ValueError(
                    f"{place} can be read by others, and its rights cannot be changed "
                    f"({error.strerror}): it holds Ray's token; chmod {rights:o} {place}"
                ) from None
