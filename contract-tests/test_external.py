"""The published contracts by the judgement of others: Spectral and Redocly find nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from thalweg.contract import external, project, tools
from thalweg.contract.findings import ContractError

ROOT = Path(__file__).resolve().parent.parent
PROJECT = project.find(ROOT)


@pytest.mark.slow
@pytest.mark.timeout(400)  # npm fetches both tools once
def test_spectral_and_redocly_find_nothing_in_any_contract() -> None:
    if why := tools.missing("node"):
        pytest.skip(f"{why}; Spectral and Redocly are second opinions, `thalweg contract lint` is ours")
    try:
        findings = external.lint(PROJECT, list(PROJECT.surfaces))
    except ContractError as error:
        if error.findings[0].message.startswith("npm cannot get"):
            pytest.skip(f"no npm registry can be reached: {error.findings[0].message[:200]}")
        raise
    assert [str(one) for one in findings] == []


def test_their_recommended_rules_are_on_and_what_is_off_is_replaced() -> None:
    """No finding is made to go away by switching its rule off."""
    spectral = yaml.safe_load((PROJECT.contracts / "spectral.yaml").read_text())
    redocly = yaml.safe_load((PROJECT.contracts / "redocly.yaml").read_text())
    assert spectral == {"extends": ["spectral:oas"]}
    assert redocly["extends"] == ["recommended"]
    off = [rule for rule, value in redocly["rules"].items() if value == "off"]
    own = [rule for rule in redocly["rules"] if rule.startswith("rule/")]
    assert (off, own) == (["operation-2xx-response"], ["rule/operation-succeeds-or-redirects"])
