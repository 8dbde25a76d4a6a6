"""What holds on real weights. `BURNISH_REAL_MODELS` names a folder with `smollm2` and `minilm`; else all is skipped."""
