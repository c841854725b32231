"""Networks: a table of stages and a builder each, the registry, and weights."""
