"""Thin handlers over the domain: one package a surface, one module a tag, one function an operation."""
