"""Tokenization of texts."""
