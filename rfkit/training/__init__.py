"""Recipes, the training loop, checkpoints, evaluation and prediction."""
