"""Tests of `burnish/data/preference`."""
