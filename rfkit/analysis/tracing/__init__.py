"""How a recorded forward pass becomes receptive fields: the engine behind `rfkit.trace`."""
