"""How fast networks are."""
