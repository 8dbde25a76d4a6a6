"""Tests of `burnish/data/rows`."""
