"""The routes of the portal. Each view is a few lines; what it shows comes from the modules beside this one."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib import metadata
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.wrappers import Response as AnyResponse

from thalweg.edge import observe
from thalweg.portal import gate, mailbox
from thalweg.portal.assets import VIEWER, Asset, Assets
from thalweg.portal.documents import Documents
from thalweg.portal.history import History
from thalweg.portal.prose import beginning, inline, prose
from thalweg.portal.surfaces import Surface, Surfaces, size, span

if TYPE_CHECKING:
    from thalweg.edge.serve import ApiProcess

__all__ = ["pages"]

log = structlog.get_logger("thalweg.portal")

# Nothing but what this server sends. No page has a script or a style in it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# The reference viewer writes its styles into the page, and shows downloads as object URLs.
VIEWER_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
# The viewer in the portal's colours (static/frame.css).
VIEWER_COLOURS = """
.light-mode, .dark-mode {
  --scalar-font: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --scalar-font-code: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
  --scalar-color-accent: var(--accent);
  --scalar-color-1: var(--ink);
  --scalar-color-2: var(--soft);
  --scalar-color-3: var(--soft);
  --scalar-border-color: var(--line);
  --scalar-background-accent: var(--tint);
  --scalar-link-color: var(--accent);
  --scalar-link-color-hover: var(--accent);
  --scalar-button-1: var(--accent);
  --scalar-button-1-color: var(--on-accent);
  --scalar-button-1-hover: var(--accent);
}
.light-mode { --scalar-background-1: #fff; --scalar-background-2: #f7f9f8; --scalar-background-3: #eef3f1; }
.dark-mode { --scalar-background-1: #0e1514; --scalar-background-2: #15201e; --scalar-background-3: #1c2a28; }
"""
FOR_GOOD = "public, max-age=31536000, immutable"
SQUEEZE_FROM = 1400
"""Bytes: less fits into one packet as it is."""


def pages(process: ApiProcess) -> Blueprint:
    """The blueprint with all pages of `process`, which has been assembled."""
    blueprint = Blueprint("portal", __name__, template_folder="templates")
    assets = Assets()
    bundles = {key: process.project.generated / key / "bundle.json" for key in process.surfaces}
    surfaces = Surfaces(bundles, process.surfaces, process.limits.rules)
    documents = Documents(bundles)
    history = History(process.project, list(process.surfaces))
    health = process.health

    @blueprint.app_context_processor
    def _everywhere() -> dict[str, Any]:
        return {
            "asset": assets.url,
            "prose": prose,
            "inline": inline,
            "size": size,
            "span": span,
            "version": _version(),
            "surfaces": surfaces,
        }

    # --- for people ---------------------------------------------------------------------------------

    @blueprint.get("/")
    def home() -> str:
        return render_template(
            "portal/home.html",
            introductions={key: beginning(one.description) for key, one in surfaces.items()},
            documents=documents,
            report=health.look(),
        )

    @blueprint.get("/surfaces/<key>")
    def surface(key: str) -> str:
        return render_template("portal/surface.html", surface=_known(surfaces, key), documents=documents)

    @blueprint.get("/limits/<key>")
    def limits(key: str) -> AnyResponse:
        _known(surfaces, key)
        return redirect(url_for("portal.surface", key=key, _anchor="limits"))

    @blueprint.get("/docs/<key>")
    def docs(key: str) -> Response:
        shown = _known(surfaces, key)
        if not assets.has_viewer:  # an installation without the package: the tables say the same
            return make_response(render_template("portal/surface.html", surface=shown, documents=documents))
        response = make_response(
            render_template("portal/docs.html", surface=shown, viewer=assets.url(VIEWER), configuration=_viewer(shown))
        )
        response.headers["Content-Security-Policy"] = VIEWER_POLICY
        return response

    @blueprint.get("/changes")
    def changes() -> str:
        return render_template("portal/changes.html", comparisons=history.changes(), surfaces=surfaces)

    @blueprint.get("/coverage")
    def coverage() -> str:
        return render_template("portal/coverage.html", coverage=history.coverage())

    mailbox.mount(blueprint, process.settings)

    # --- for programs -------------------------------------------------------------------------------

    @blueprint.get("/contracts/<name>")
    def contract(name: str) -> Response:
        document = documents.get(name)
        if document is None:
            raise NotFound
        response = _send(document)
        response.headers["Cache-Control"] = "public, no-cache"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    @blueprint.get("/assets/<name>")
    def asset(name: str) -> Response:
        found = assets.get(name)
        if found is None:
            raise NotFound
        response = _send(found)
        current = request.args.get("v") == found.etag[:12]
        response.headers["Cache-Control"] = FOR_GOOD if current else "public, no-cache"
        return response

    @blueprint.get("/favicon.ico")
    def icon() -> AnyResponse:
        return redirect(assets.url("icon.svg"), 301)

    @blueprint.get("/health")
    def health_() -> Response:
        report = health.look()
        if gate.wants_page():
            response = make_response(render_template("portal/health.html", report=report), report.code)
        else:
            response = make_response(orjson.dumps(report.as_json()), report.code)
            response.headers["Content-Type"] = "application/json"
        response.headers["Vary"] = "Accept"
        response.headers["Cache-Control"] = "no-store"
        return response

    @blueprint.get("/metrics")
    def metrics() -> Response:
        refused = gate.metrics(process.settings)
        if refused is not None:
            return refused
        response = make_response(process.observer.render())
        response.headers["Content-Type"] = observe.CONTENT_TYPE
        response.headers["Cache-Control"] = "no-store"
        return response

    # --- everything else ----------------------------------------------------------------------------

    @blueprint.app_errorhandler(Exception)
    def failed(error: Exception) -> AnyResponse:
        if isinstance(error, HTTPException) and error.code is not None:
            code, title, said = error.code, error.name, error.description or ""
            headers = [(k, v) for k, v in error.get_headers() if k.lower() in ("allow", "location")]
            if code < 400:
                return error.get_response()
            if code == 404:
                said = "There is no such page here."
        else:
            log.error("unhandled", path=request.path[:200], exc_info=error)
            code, title, headers = 500, "Something went wrong", []
            said = "It has been noted. The reply's X-Correlation-ID header helps to find out what it was."
        if gate.wants_page():
            response = make_response(render_template("portal/error.html", code=code, title=title, said=said), code)
        else:
            response = make_response({"error": title, "message": said}, code)
        response.headers.extend(headers)
        return response

    @blueprint.after_app_request
    def dress(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers.pop("Date", None)  # the server writes it
        response.headers.setdefault("Cache-Control", "no-cache")
        if response.mimetype == "text/html" and response.status_code == 200:
            _finish(response)
        return response

    return blueprint


def _known(surfaces: Mapping[str, Surface], key: str) -> Surface:
    if key not in surfaces:
        raise NotFound
    return surfaces[key]


def _version() -> str:
    try:
        return metadata.version("thalweg")
    except metadata.PackageNotFoundError:  # run from a checkout
        return ""


def _viewer(surface: Surface) -> dict[str, Any]:
    """The settings of the reference viewer: it asks this server and nobody else."""
    schemes: Sequence[str] = [one.name for one in surface.credentials]
    return {
        "url": url_for("portal.contract", name=f"{surface.key}.json"),
        "slug": surface.key,
        "title": surface.title,
        "servers": [{"url": surface.base_path or "/", "description": "This server"}],
        "authentication": {"preferredSecurityScheme": schemes[0]} if schemes else {},
        "persistAuth": False,
        "withDefaultFonts": False,
        "telemetry": False,
        "proxyUrl": "",
        "agent": {"disabled": True},
        "mcp": {"disabled": True},
        "showDeveloperTools": "never",
        "hideClientButton": True,
        "hideDarkModeToggle": True,
        "documentDownloadType": "none",
        "defaultOpenFirstTag": True,
        "theme": "none",
        "customCss": VIEWER_COLOURS,
        "layout": "modern",
    }


def _send(asset: Asset) -> Response:
    """An asset, compressed where the client takes that; 304 where it has it."""
    packed = _takes_gzip()
    response = make_response(asset.packed if packed else asset.plain())
    response.headers["Content-Type"] = asset.media_type
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    # Two encodings are two representations (RFC 9110 8.8.3.3).
    response.set_etag(f"{asset.etag}-gz" if packed else asset.etag)
    response.make_conditional(request)
    return response


def _takes_gzip() -> bool:
    return request.accept_encodings["gzip"] > 0


def _finish(response: Response) -> None:
    body = response.get_data()
    if "Cache-Control" in response.headers and "no-store" not in response.headers["Cache-Control"]:
        response.set_etag(sha256(body).hexdigest()[:32], weak=True)
        response.make_conditional(request)
        if response.status_code == 304:
            return
    response.vary.add("Accept-Encoding")
    if len(body) >= SQUEEZE_FROM and _takes_gzip():
        response.set_data(gzip.compress(body, 5, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
