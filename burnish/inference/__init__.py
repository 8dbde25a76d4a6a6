"""A loaded run that answers."""
