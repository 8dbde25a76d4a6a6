"""Tests of the studio without a browser."""
