"""What one example means."""
