"""Tests of `burnish/data/chat`."""
