"""Bee Flow: how tickets fail."""

from __future__ import annotations

from uuid import uuid4

from recipes.beeflow_tickets import mail, submitted
from recipes.failures import failure
from recipes.world import Call, World

S = "beeflow"


@failure(S, "listTickets", 403)
def not_in_the_tier(world: World) -> Call:
    return Call(who=world.person(S, plan="community"))


@failure(S, "createTicket", 403)
def made_without_the_tier(world: World) -> Call:
    return Call(json={"email": mail()}, who=world.person(S, plan="community"))


@failure(S, "createTicket", 404)
def of_a_mail_that_is_in_no_inbox(world: World) -> Call:
    return Call(json={"emailId": str(uuid4())}, who=world.person(S))


@failure(S, "createTicket", 409)
def of_a_mail_that_has_one(world: World) -> Call:
    who = world.person(S)
    given = mail()
    submitted(world, who, messageId=given["messageId"])
    return Call(json={"email": given}, who=who)


@failure(S, "createTicket", 422)
def of_two_mails_at_once(world: World) -> Call:
    return Call(json={"email": mail(), "emailId": str(uuid4())}, who=world.person(S))
