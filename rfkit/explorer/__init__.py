"""A network looked into by hand: pick a unit, see what it can see, what it looks at, and what its block makes of it."""
