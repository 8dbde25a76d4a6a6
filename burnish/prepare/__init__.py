"""The prologue of every workflow, once: rows read, model found, recipe resolved, rows encoded, model loaded."""
