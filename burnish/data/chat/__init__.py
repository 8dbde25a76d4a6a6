"""Conversations: rows, messages, templates, and which tokens are trained on."""
