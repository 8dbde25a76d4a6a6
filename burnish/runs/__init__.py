"""The run folder: the only thing that training writes and the only thing that later commands read."""
