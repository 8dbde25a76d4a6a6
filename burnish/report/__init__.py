"""What people read of a run: a page for the browser, and the model card."""
