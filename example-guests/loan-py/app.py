"""The entry module: ``python -m quipu_guest build`` makes loan.wasm of it."""

from loan import guest

__all__ = ["guest"]
