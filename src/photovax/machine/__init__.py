"""The machine: devices, memory, number formats and random numbers."""
