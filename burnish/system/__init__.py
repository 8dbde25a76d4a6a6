"""This machine: cores, memory, processor, disk, packages and processes, without importing torch."""
