"""The pages of verbs."""
