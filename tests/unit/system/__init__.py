"""Tests of `burnish/system`."""
