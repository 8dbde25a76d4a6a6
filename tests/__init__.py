"""Tests of Burnish; see `docs/` and CONTRIBUTING for what belongs where."""
