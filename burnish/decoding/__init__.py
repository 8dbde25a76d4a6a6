"""Writes answers token by token: choosing tokens, keys and values of several answers, a batch of them."""
