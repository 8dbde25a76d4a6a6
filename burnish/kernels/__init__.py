"""Fast kernels, each beside its plain reference implementation."""
