"""Tests of `burnish/data/images`."""
