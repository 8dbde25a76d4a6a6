"""Tests of `burnish/data/files`."""
