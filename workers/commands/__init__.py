"""The commands of ``alphazero``, one module each."""
