"""What things cost, in counts that are the same on every machine."""
