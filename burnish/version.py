"""The version of this package, in a leaf of its own so that nothing has to import the root for it."""

from __future__ import annotations

__version__ = "0.1.0"
