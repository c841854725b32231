"""From a model to numbers; no drawing here."""
