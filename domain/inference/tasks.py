"""The shapes of the language tasks, twice: JSON Schema to hold a model to, marshmallow for what comes back.

A model's output enters from outside: `answer()` and `challenge()` check it before anything believes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from domain.inference.ports import InvalidOutput

SEVERITIES = ("low", "medium", "high")

ANSWER: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["answer", "sections", "open_questions"],
    "properties": {
        "answer": {"type": "string", "maxLength": 1200},
        "sections": {
            "type": "array",
            "maxItems": 6,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["heading", "text", "cites"],
                "properties": {
                    "heading": {"type": "string", "maxLength": 80},
                    "text": {"type": "string", "maxLength": 1200},
                    "cites": {
                        "type": "array",
                        "maxItems": 6,
                        "items": {"type": "string", "pattern": "^[mdi][0-9]{1,3}$"},
                    },
                },
            },
        },
        "open_questions": {"type": "array", "maxItems": 6, "items": {"type": "string", "maxLength": 300}},
    },
}

CHALLENGE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["objections"],
    "properties": {
        "objections": {
            "type": "array",
            "maxItems": 8,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["text", "severity"],
                "properties": {
                    "text": {"type": "string", "maxLength": 400},
                    "severity": {"type": "string", "enum": list(SEVERITIES)},
                },
            },
        }
    },
}


class _Section(Schema):
    class Meta:
        unknown = EXCLUDE

    heading = fields.String(required=True, validate=validate.Length(max=200))
    text = fields.String(required=True, validate=validate.Length(max=20_000))
    cites = fields.List(fields.String(validate=validate.Length(max=16)), load_default=list)


class _Answer(Schema):
    class Meta:
        unknown = EXCLUDE

    answer = fields.String(required=True, validate=validate.Length(min=1, max=20_000))
    sections = fields.List(fields.Nested(_Section), required=True, validate=validate.Length(max=20))
    open_questions = fields.List(fields.String(validate=validate.Length(max=2000)), load_default=list)


class _Objection(Schema):
    class Meta:
        unknown = EXCLUDE

    text = fields.String(required=True, validate=validate.Length(min=1, max=4000))
    severity = fields.String(required=True, validate=validate.OneOf(SEVERITIES))


class _Challenge(Schema):
    class Meta:
        unknown = EXCLUDE

    objections = fields.List(fields.Nested(_Objection), required=True, validate=validate.Length(max=50))


def answer(data: Mapping[str, Any]) -> dict[str, Any]:
    """`{answer, sections: [{heading, text, cites}], open_questions}`. Raises `InvalidOutput`."""
    return _loaded(_Answer(), data)


def challenge(data: Mapping[str, Any]) -> dict[str, Any]:
    """`{objections: [{text, severity}]}`. Raises `InvalidOutput`."""
    return _loaded(_Challenge(), data)


def _loaded(schema: Schema, data: Mapping[str, Any]) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = schema.load(data)
    except ValidationError as wrong:
        raise InvalidOutput(
            f"The model's answer was not usable: {', '.join(sorted(map(str, wrong.messages_dict)))}."
        ) from wrong
    return loaded
