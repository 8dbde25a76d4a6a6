"""This machine: cores, memory, processor, disk, packages and processes, read without torch."""
