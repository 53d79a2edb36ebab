"""How far each surface is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from thalweg.contract.coverage import Row, coverage, inventory
from thalweg.contract.project import Project

MakeProject = Callable[..., Project]

INVENTORY = (
    "surface\tseed\tsection\tmethod\tpath\tauth\tsummary\n"
    "shop\t000\tThings\tGET\t/things/{thing_id}\tUser\tLook at a thing\n"
    "shop\t000\tThings\tGET\t/things/{thing_id}\tUser\tStands twice\n"
    "shop\t000\tThings\tDELETE\t/things/:id\tUser\tRemove \"it\n"
    "later\t001\tOthers\tPOST\t/others?dry=1\tNone\tMake\n"
)  # fmt: skip

HANDLERS = """
def get_thing(ctx, thing_id):
    return {}

def replace_thing(ctx, thing_id, body):
    raise not_implemented()
"""


def test_operations_are_counted_from_inventory_to_fuzzing(make_project: MakeProject) -> None:
    fuzz = [
        {"surface": "shop", "operation_id": "getThing", "statuses": [404, 200]},
        {"surface": "shop", "operation_id": "replaceThing", "statuses": [501]},
        {"surface": "other", "operation_id": "getThing", "statuses": [200]},
    ]
    project = make_project(
        {"inventory.tsv": INVENTORY, "handlers/shop/things.py": HANDLERS, "reports/fuzz.json": json.dumps(fuzz)},
        surfaces=("shop", "later"),
    )
    counted = coverage(project, ["shop", "later"])
    assert counted.fuzzed
    assert counted.rows == [
        Row("shop", "things", inventory=1, declared=2, implemented=1, not_implemented=1, reached=2, succeeded=1),
        Row("shop", "(not declared)", inventory=1),
        Row("later", "(not declared)", inventory=1),
    ]
    assert counted.undeclared == ["shop DELETE /things/{}", "later POST /others"]
    assert counted.unlisted == ["shop PUT /things/{thingId}"]
    assert [(row.surface, row.inventory, row.declared) for row in counted.totals()] == [("shop", 2, 2), ("later", 1, 0)]
    assert json.loads(json.dumps(counted.as_json()))["totals"][0]["succeeded"] == 1


def test_without_inventory_and_report_only_the_contract_counts(shop: Project) -> None:
    counted = coverage(shop, ["shop"])
    assert counted.rows == [Row("shop", "things", declared=2)]
    assert (counted.fuzzed, counted.undeclared, counted.unlisted) == (False, [], [])


def test_the_inventory_of_this_project_is_whole() -> None:
    from thalweg.contract import project as projects

    listed = inventory(projects.find(Path(__file__)))
    counts = {surface: len(operations) for surface, operations in listed.items()}
    # One operation of beeflow stands twice in its seed, and one in its notes alone.
    assert counts == {"thallus": 157, "thalian": 26, "beeflow": 131, "thalium": 3, "starter": 87}
