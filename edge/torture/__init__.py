"""Torture: a node under load that is killed again and again, on the very device (`leveret store torture`)."""
