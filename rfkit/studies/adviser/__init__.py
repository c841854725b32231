"""The adviser: which dilation rates the stages of somebody's own network need, on somebody's own data."""
