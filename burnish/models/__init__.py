"""Base models and tokenizers: finding, loading, inspecting and generating."""
