"""Tests of `burnish/data/tokens`."""
