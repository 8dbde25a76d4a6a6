"""Tests of `burnish/data`."""
