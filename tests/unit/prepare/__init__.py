"""Tests of `burnish/prepare`."""
