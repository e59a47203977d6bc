"""The demonstration: a fleet of drones, an edge node, a link that fails, an upstream, and a count at the end."""
