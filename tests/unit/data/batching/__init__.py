"""Tests of `burnish/data/batching`."""
