"""Arithmetic as people write it, evaluated by a parser that knows numbers, operators and a few functions and nothing
else. Bounded in length, powers and size of results."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from domain.agents.tools.registry import ToolProblem, ToolResult, ToolRun

LONGEST = 500
LARGEST = 10.0**60
_FUNCTIONS = {
    "abs": abs, "round": round, "min": min, "max": max, "sum": lambda *given: math.fsum(given), "sqrt": math.sqrt,
    "exp": math.exp, "log": math.log, "log10": math.log10, "sin": math.sin, "cos": math.cos, "tan": math.tan,
    "floor": math.floor, "ceil": math.ceil,
}  # fmt: skip
_NAMES = {"pi": math.pi, "e": math.e}


def evaluate(expression: str) -> int | float:
    """Raises `ToolProblem` for what is no arithmetic, and for results that are too large."""
    text = expression.strip().replace("^", "**").replace("×", "*").replace("÷", "/")
    text = re.sub(r"%(?!\s*[\d(a-z])", "/100", text)  # a per cent sign with nothing behind it is no remainder
    if not text or len(text) > LONGEST:
        raise ToolProblem(f"An expression has 1 to {LONGEST} characters.")
    if set(text) & set(";\n\r='\"[]{}:"):
        raise ToolProblem("This is not an arithmetic expression that can be evaluated.")
    import simpleeval  # type: ignore[import-untyped]  # late: few processes calculate

    evaluator = simpleeval.SimpleEval(operators=_operators(), functions=_FUNCTIONS, names=_NAMES)
    try:
        value = evaluator.eval(text)
    except ZeroDivisionError:
        raise ToolProblem("Division by zero.") from None
    except Exception:  # simpleeval raises a dozen kinds, and the parser its own
        raise ToolProblem("This is not an arithmetic expression that can be evaluated.") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ToolProblem("The expression has no number as its value.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ToolProblem("The result is not a finite number.")
    if abs(value) > LARGEST:
        raise ToolProblem("The result is too large.")
    return value


def calculate(run: ToolRun, given: Mapping[str, Any]) -> ToolResult:
    value = evaluate(given["expression"])
    shown = str(value) if isinstance(value, int) else f"{value:.12g}"
    return ToolResult(f"{given['expression'].strip()} = {shown}", {"value": value})


@cache
def _operators() -> dict[type[ast.AST], Callable[..., Any]]:
    import simpleeval  # late: see `evaluate`

    return {
        ast.Add: simpleeval.safe_add,
        ast.Sub: operator.sub,
        ast.Mult: simpleeval.safe_mult,
        ast.Div: operator.truediv,
        ast.FloorDiv: operator.floordiv,
        ast.Mod: operator.mod,
        ast.Pow: simpleeval.safe_power,
        ast.USub: operator.neg,
        ast.UAdd: operator.pos,
    }
