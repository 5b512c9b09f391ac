"""What this machine has: devices, memory, precision, randomness."""
