"""DITN: image super-resolution by a transformer for deployment (ACM MM 2023)."""

from typing import TYPE_CHECKING

from upframe.systems.lazy import lazy_names

if TYPE_CHECKING:
    from upframe.systems.ditn.model import DITN

__all__ = ["DITN"]

__getattr__ = lazy_names(__name__, {"DITN": "model"})
