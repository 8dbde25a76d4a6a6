"""What a run was made from, whether that is unchanged, and whether the run can be reproduced."""
