"""Tests of `burnish/data/labels`."""
