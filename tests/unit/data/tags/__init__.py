"""Tests of `burnish/data/tags`."""
