"""The training loop: step, loop, schedule, checkpoints and the guards around them."""
