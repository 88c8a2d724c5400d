"""Training states as bytes: plain types, NumPy arrays and tensors; reading them runs no code.

torch writes a zip archive: ``data.pkl`` has the objects, and each tensor's numbers are a file of
their own, to which its pickle refers. ``torch.load(weights_only=True)`` imports nothing that is not
on its list, but trusts sizes; so a first reading, ``_Inspection``, which makes nothing, compares
them.
"""

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

# The types and functions that pickled NumPy arrays and scalars refer to; none of them runs code.
_NUMPY = [
    np.ndarray,
    np.dtype,
    np.empty(0).__reduce__()[0],
    np.float64(0).__reduce__()[0],
    *{type(np.dtype(code)) for code in np.typecodes["All"] if code != "O"},
]
_NAMES = re.compile(
    r"collections\.OrderedDict|_codecs\.encode|torch\._utils\._rebuild_(tensor_v2|parameter)"
    r"|torch\.\w+Storage|numpy(\._?core\.multiarray)?\.(ndarray|dtype|_reconstruct|scalar)"
    r"|numpy\.dtypes\.\w+|numpy\._?core\.multiarray\.\w+"
)
"""The names to which the pickle of a training state refers."""
_BYTES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2,
    "LongStorage": 8, "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1,
    "BoolStorage": 1,
}  # fmt: skip
"""Bytes of a number in each kind of storage."""


def dump(state: dict) -> bytes:
    """Serialize ``state``; ``ValueError`` where it holds other types than those named above."""
    buffer = io.BytesIO()
    rule = "it may hold plain types, NumPy arrays and tensors"
    try:
        torch.save(state, buffer)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"the training state cannot be saved: {error}; {rule}") from None
    # Reading refuses more types than writing does; this finds them before the state is needed.
    buffer.seek(0)
    with torch.serialization.safe_globals(_NUMPY):
        refused = torch.serialization.get_unsafe_globals_in_checkpoint(buffer)
    if refused:
        raise ValueError(f"the training state holds {', '.join(refused)}; {rule}")
    data = buffer.getvalue()
    _inspect(data)
    return data


def load(data: bytes) -> dict[str, Any]:
    """Read what ``dump`` wrote; tensors are on the CPU.

    Any error where it is something else: the caller names the file.
    """
    _inspect(data)
    with torch.serialization.safe_globals(_NUMPY):
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError("it is no training state")
    return state


def _inspect(data: bytes) -> None:
    """Any error where reading the state might take more memory than ``data``."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise ValueError("it is compressed")
        if sum(part.file_size for part in parts) > len(data):
            raise ValueError("its parts overlap")
        sizes = {part.filename.partition("/")[2]: part.file_size for part in parts}
        (pickled,) = (part for part in parts if part.filename.partition("/")[2] == "data.pkl")
        _Inspection(io.BytesIO(archive.read(pickled)), sizes).load()


class _Nothing:
    """Stands in for what a name in the pickle would make."""

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class _Storage:
    """The numbers of a tensor: only how many."""

    def __init__(self, numbers: int):
        self.numbers = numbers


class _Inspection(pickle._Unpickler):  # type: ignore[reportAttributeAccessIssue]
    """Reads the pickle without importing or making anything.

    It is Python's own reader in Python: the one in C makes room for as many objects as the pickle
    says.
    """

    def __init__(self, file: io.BytesIO, sizes: dict[str, int]):
        super().__init__(file)
        self._sizes = sizes

    def find_class(self, module: str, name: str) -> Callable[..., Any] | str:
        whole = f"{module}.{name}"
        if not _NAMES.fullmatch(whole):
            raise ValueError(f"it holds {whole}")
        if name.endswith("Storage"):
            return name
        stands_in = {"OrderedDict": OrderedDict, "_rebuild_tensor_v2": _check_tensor}
        return stands_in.get(name, _Nothing)

    def persistent_load(self, pid: Any) -> _Storage:
        """``("storage", "FloatStorage", "3", "cpu", 12)``: 12 numbers in the file ``data/3``."""
        _, kind, key, _, numbers = pid
        if self._sizes[f"data/{key}"] != numbers * _BYTES[kind]:
            raise ValueError(f"data/{key} has another size than its tensor")
        return _Storage(numbers)


def _check_tensor(
    storage: _Storage, first: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Nothing:
    """``ValueError`` for a tensor that reaches beyond its numbers, or uses them several times."""
    count = int(np.prod(shape, dtype=object)) if shape else 1
    reach = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if count and (first < 0 or min((*strides, 0)) < 0 or first + reach >= storage.numbers):
        raise ValueError("a tensor is larger than its numbers")
    if count > storage.numbers:
        raise ValueError("a tensor repeats its numbers")
    return _Nothing()
