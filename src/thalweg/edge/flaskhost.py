"""Flask as the host: every operation is a view of a real Flask application, called in a real request context.

The edge has routed and checked the request already, so the rule is preset and what a view returns goes back as it is.
Everything outside the contracts (the portal, metrics) takes Flask's ordinary way.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, cast

import flask
from flask.ctx import AppContext, RequestContext
from flask.globals import _cv_app, _cv_request
from flask.sessions import NullSession, SessionInterface
from flask.signals import appcontext_popped, appcontext_pushed, appcontext_tearing_down, request_tearing_down
from werkzeug.routing import Rule

from thalweg.edge.guard import RawHeaders
from thalweg.edge.pool import Pool

_TOO_LARGE = b'{"error":"too_large","message":"The request body is too large."}'


Mount = Callable[[Mapping[str, Any], Any, Any, RawHeaders], Awaitable[int]]
"""`(scope, receive, send, extra)`: serves a request, with the headers `extra` on its answer, and answers its status."""


class _NoSessions(SessionInterface):
    def open_session(self, app: flask.Flask, request: flask.Request) -> NullSession:
        return NullSession()

    def save_session(self, app: flask.Flask, session: Any, response: flask.Response) -> None:
        return None


class HostFlask(flask.Flask):
    """Takes the edge's word for the URL rule."""

    session_interface = _NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Views are synchronous here: handlers run in threads, and only streams are asynchronous."""
        return func


class _OperationAppContext(AppContext):
    """Flask's application context, with a `g` that is made for whoever asks for it."""

    def __init__(self, app: flask.Flask) -> None:
        self.app = app
        self.url_adapter = None
        self._cv_tokens = []
        self._g: Any = None

    @property
    def g(self) -> Any:  # type: ignore[override]
        if self._g is None:
            self._g = self.app.app_ctx_globals_class()
        return self._g


class OperationContext(RequestContext):
    """Flask's request context for an operation; the request in it is made when somebody asks for it.

    A handler is given its values and hardly ever asks for `flask.request`. To make environ, request and session all the
    same, and to send signals that nobody hears, was a third of the edge's own time.
    """

    def __init__(self, app: flask.Flask, rule: Rule, scope: Mapping[str, Any], body: bytes, call: Any) -> None:
        self.app = app
        self.call = call
        self.url_adapter = None
        self.flashes = None
        self._session = None
        self._after_request_functions = []
        self._cv_tokens = []
        self._rule = rule
        self._scope = scope
        self._body = body
        self._request: flask.Request | None = None

    @property
    def request(self) -> flask.Request:  # type: ignore[override]
        request = self._request
        if request is None:
            request = self._request = self.app.request_class(environ_of(self._scope, self._body))
            request.json_module = self.app.json
            request.url_rule, request.view_args = self._rule, {}
        return request

    @property
    def session(self) -> Any:
        if self._session is None:
            self._session = NullSession()
        return self._session

    def push(self) -> None:
        context = _OperationAppContext(self.app)
        self._cv_tokens.append((_cv_request.set(self), context))
        context._cv_tokens.append(_cv_app.set(context))
        if appcontext_pushed.receivers:
            appcontext_pushed.send(self.app, _async_wrapper=self.app.ensure_sync)

    def pop(self, exc: BaseException | None = None) -> None:
        app = self.app
        request_token, context = self._cv_tokens.pop()
        assert context is not None
        try:
            if request_tearing_down.receivers or _concern(app.teardown_request_funcs, self._rule):
                app.do_teardown_request(exc)
            if self._request is not None:
                self._request.close()
            if app.teardown_appcontext_funcs or appcontext_tearing_down.receivers:
                app.do_teardown_appcontext(exc)
        finally:
            _cv_app.reset(context._cv_tokens.pop())
            _cv_request.reset(request_token)
        if appcontext_popped.receivers:
            appcontext_popped.send(app, _async_wrapper=app.ensure_sync)


class FlaskHost:
    """The ASGI side of a Flask application. `operation` runs a view; calling the host serves a page."""

    def __init__(self, app: HostFlask, pool: Pool) -> None:
        self.app = app
        self.pool = pool
        self._rules: dict[str, Rule] = {}
        self.mounts: dict[str, Mount] = {}
        """Path prefix to what serves the paths below it instead of Flask: bodies that are too large to be held."""

    def add_operation(self, endpoint: str, path: str, method: str) -> Rule:
        """Register an operation as a view. What it does is handed to `operation` with each call.

        The rule is what `flask.request.url_rule` shows; it is not put into Flask's map. The edge has matched already,
        and compiling 404 rules that nobody matches takes a quarter of a second.
        """
        self.app.view_functions[endpoint] = _view
        return self.app.url_rule_class(path, endpoint=endpoint, methods=[method])

    def operation(self, rule: Rule, scope: Mapping[str, Any], body: bytes, call: Callable[[], Any]) -> Any:
        """`call` as the view of `rule`, within its request context. Blocks: call it in a thread."""
        app = self.app
        context = OperationContext(app, rule, scope, body, call)
        error: BaseException | None = None
        context.push()
        try:
            if _concern(app.before_request_funcs, rule) or _concern(app.url_value_preprocessors, rule):
                early = app.preprocess_request()
                if early is not None:
                    return early
            return app.view_functions[rule.endpoint]()
        except BaseException as caught:
            error = caught
            raise
        finally:
            context.pop(error)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any, extra: RawHeaders = ()) -> int:  # type: ignore[assignment]
        """Serve a page; answers the status it had."""
        for prefix, mount in self.mounts.items():
            if scope["path"].startswith(prefix):
                scope["thalweg.path"] = prefix + "..."  # what follows may be a credential: not for the access log
                return await mount(scope, receive, send, extra)
        body = await _read(receive, limit=1 << 20)
        if body is None:
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_TOO_LARGE)), *extra]
            await send({"type": "http.response.start", "status": 413, "headers": [*headers, (b"connection", b"close")]})
            await send({"type": "http.response.body", "body": _TOO_LARGE})
            return 413
        status, headers, data, close = await self.pool.run(self._page, environ_of(scope, body))
        await send({"type": "http.response.start", "status": status, "headers": [*headers, *extra]})
        if isinstance(data, bytes):
            await send({"type": "http.response.body", "body": data})
            return status
        pieces = iter(data)
        try:
            while (piece := await self.pool.run(next, pieces, None)) is not None:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await self.pool.run(close)
        return status

    def _page(self, environ: dict[str, Any]) -> tuple[int, RawHeaders, bytes | Iterable[bytes], Callable[[], Any]]:
        started: list[Any] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], None]:
            started[:] = [int(status[:3]), headers]
            return lambda _: None

        result = self.app.wsgi_app(environ, cast(Any, start_response))
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in started[1]]
        close = getattr(result, "close", lambda: None)
        if isinstance(result, (list, tuple)) or not getattr(result, "is_streamed", False):
            try:
                return started[0], headers, b"".join(result), close
            finally:
                close()
        return started[0], headers, result, close


def _concern(functions: Mapping[Any, Any], rule: Rule) -> bool:
    """Whether hooks that Flask keeps by blueprint (None: of the application) belong to an operation, too."""
    return bool(functions) and (None in functions or rule.endpoint.partition(".")[0] in functions)


def _view(**_: Any) -> Any:
    context = _cv_request.get()
    if not isinstance(context, OperationContext):
        # Flask decodes before it routes: `/thalium%2fv1` is no path of the edge's and must not become one here.
        flask.abort(404)
    return context.call()


async def _read(receive: Any, limit: int) -> bytes | None:
    parts, total = [], 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        total += len(parts[-1])
        if total > limit:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


_NAMES: dict[bytes, str] = {}


def environ_of(scope: Mapping[str, Any], body: bytes = b"") -> dict[str, Any]:
    """The WSGI environ (PEP 3333) of an ASGI scope."""
    server = scope.get("server") or ("localhost", 80)
    root = scope.get("root_path", "")
    path = scope["path"]
    if root and path.startswith(root):
        path = path[len(root) :]
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root,
        "PATH_INFO": path if path.isascii() else path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": "HTTP/" + scope["http_version"],
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 0),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    client = scope.get("client")
    if client:
        environ["REMOTE_ADDR"] = client[0]
        environ["REMOTE_PORT"] = str(client[1])
    for raw, value in scope["headers"]:
        name = _NAMES.get(raw)
        if name is None:
            name = raw.decode("latin-1").upper().replace("-", "_")
            if name not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
                name = "HTTP_" + name
            if len(_NAMES) < 512:  # a caller may send any names: remember the usual ones only
                _NAMES[raw] = name
        text = value.decode("latin-1")
        environ[name] = f"{environ[name]},{text}" if name in environ else text
    return environ
