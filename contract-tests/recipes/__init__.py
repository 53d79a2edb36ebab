"""Recipes: how each operation is made to succeed. See README.md."""

from __future__ import annotations

import importlib
import pkgutil

from recipes.world import RECIPES, Call, Person, World, recipe, send

__all__ = ["RECIPES", "Call", "Person", "World", "load", "recipe", "send"]


def load() -> None:
    """Import every file of recipes."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"recipes.{module.name}")
