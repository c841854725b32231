"""Images and label maps from disk, or drawn by a procedure."""
