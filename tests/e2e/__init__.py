"""End to end: real commands, bad input, stops and resumes."""
