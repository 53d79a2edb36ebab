"""The one domain behind every surface. Contexts are packages; their `__init__` holds the public verbs."""
