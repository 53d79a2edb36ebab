"""The workspace in the browser: a page to chat, and a page of documents.

A page is empty when it leaves here. Its script (`static/console`) signs in with the refresh cookie of Thallus and
calls the published operations that are named below, as any client would; there is no other way in (docs/console.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, redirect, render_template
from werkzeug.exceptions import NotFound

from handlers.console.calls import calls, served
from thalweg.portal.blueprint import POLICY

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as AnyResponse

SURFACE = "thallus"
FILE_TYPES = ("pdf", "docx", "doc", "txt", "md", "csv", "xlsx", "xls")
"""What an upload takes by the contract: the browser offers these first."""
_EVERYWHERE = ("refreshToken", "logout", "getCurrentUser", "getDocument", "listDocumentChunks", "downloadDocument")
OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "chat": (
        *_EVERYWHERE,
        "startChat",
        "streamChatProgress",
        "getChatState",
        "getChatResult",
        "listActiveChats",
        "listConversations",
        "listConversationMessages",
    ),
    "documents": (
        *_EVERYWHERE,
        "uploadDocument",
        "listDocuments",
        "getDocumentStatus",
        "deleteDocument",
        "queryDocuments",
        "listCollections",
        "createCollection",
        "deleteCollection",
    ),
}
"""What each page calls, by operation id."""

# Trusted types: a script that puts text into a page as markup fails in the browser, whatever it was meant to do.
PAGE_POLICY = f"{POLICY}; require-trusted-types-for 'script'; trusted-types 'none'"


def blueprint() -> Blueprint:
    made = Blueprint(
        "console",
        __name__,
        template_folder="templates",
        static_folder="static/console",
        static_url_path="/console/static",
    )

    @made.get("/console")
    def index() -> AnyResponse:
        return redirect("/console/chat")

    @made.get("/console/chat")
    def chat() -> str:
        return _page("chat")

    @made.get("/console/documents")
    def documents() -> str:
        return _page("documents", accept=",".join(f".{kind}" for kind in FILE_TYPES))

    @made.after_request
    def strict(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = PAGE_POLICY
        return response

    return made


def _page(name: str, **more: Any) -> str:
    surfaces = served()
    if SURFACE not in surfaces:
        raise NotFound
    facts = {"page": name, "calls": calls(surfaces[SURFACE], OPERATIONS[name])}
    return render_template(f"console/{name}.html", name=name, facts=facts, surface=SURFACE, **more)
