"""What a run was made from, whether that is still here, and whether it can be made again."""
