"""Experiments on networks that train them: what happens if something is changed."""
