"""Guardrails: personal data, terms of one's own and invisible characters, in prompts and in answers.

`recognise` finds, `policy` decides, `shield` replaces by placeholders before a model sees it, `output` watches an
answer while it is said, `record` notes what happened without the text.
"""
