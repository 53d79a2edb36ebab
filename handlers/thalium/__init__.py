"""Thalium: a brain of roles over memory rings."""
