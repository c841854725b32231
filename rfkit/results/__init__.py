"""Results of analyses: frozen dataclasses of numpy arrays and plain values, saved without pickle."""
