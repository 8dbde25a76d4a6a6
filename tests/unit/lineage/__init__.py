"""Tests of `burnish/lineage`."""
