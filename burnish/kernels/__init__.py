"""Arithmetic that is worth making fast; each piece stands beside its plain reference."""
