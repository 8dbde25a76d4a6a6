"""What holds on real weights; skipped unless `BURNISH_REAL_MODELS` names a folder with `smollm2` and `minilm`."""
