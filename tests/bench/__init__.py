"""Leveret beside the brokers that people use, on one machine: ``make bench``; docs/performance.md has the method."""
