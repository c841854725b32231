"""From results to pictures; no model here."""
