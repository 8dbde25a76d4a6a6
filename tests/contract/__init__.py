"""Tests of what the house promises: layers, start-up, help, options."""
