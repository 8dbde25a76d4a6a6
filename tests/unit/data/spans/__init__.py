"""Tests of `burnish/data/spans`."""
