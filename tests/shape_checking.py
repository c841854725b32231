"""The type checker behind the shape annotations: beartype, with an int allowed where a float is asked for."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

__all__ = ["check"]

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
