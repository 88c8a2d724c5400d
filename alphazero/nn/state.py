"""Training states as bytes: plain types, NumPy arrays and tensors; reading them runs no code."""

import io
import pickle
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
    return buffer.getvalue()


def load(data: bytes) -> dict[str, Any]:
    """Read what ``dump`` wrote; tensors are on the CPU."""
    with torch.serialization.safe_globals(_NUMPY):
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
