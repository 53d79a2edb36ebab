"""Bee Flow: the Nextcloud connector."""

from __future__ import annotations

import json

from recipes import federation
from recipes.world import Call, World, recipe


@recipe("beeflow", "bootstrapConnector")
def bootstrap(world: World) -> Call:
    connector = federation.connector(world.url)
    federation.providers().server.capabilities["capabilities"]["bee_flow"]["instanceId"] = connector.instance_id
    return Call(headers=connector.first_contact(), public=True, status=201, once=True)


@recipe("beeflow", "issueHandshakeToken")
def handshake(world: World) -> Call:
    connector = federation.connector(world.url, world.database)
    return Call(headers=connector.handshake("ada"), public=True, once=True)


@recipe("beeflow", "syncNextcloudUser")
def sync(world: World) -> Call:
    connector = federation.connector(world.url, world.database)
    body = json.dumps({"event": "user.created", "ncUid": "grace", "displayName": "Grace Hopper"}).encode()
    return Call(content=body, headers=connector.sync(body), public=True, once=True)


@recipe("beeflow", "recordConsent")
def consent(world: World) -> Call:
    return Call(json={"version": federation.NOTICE, "accepted": True, "language": "nl"})
