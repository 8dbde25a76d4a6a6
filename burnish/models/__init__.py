"""Base models and tokenizers: finding, loading, placing, generating."""
