"""What leaves Burnish: a model with its adapter folded in, and a script that repeats a run without Burnish."""
