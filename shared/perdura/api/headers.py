"""Security headers of every answer."""

from __future__ import annotations

from urllib.parse import urlsplit

from werkzeug.wrappers import Request, Response

from perdura.settings import Settings

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def content_security_policy(settings: Settings) -> str:
    """The policy of our own pages: everything from here, nothing inline; uploads may go to the object store."""
    store = settings.s3_public_endpoint or settings.s3_endpoint
    upload = f" {_origin(store)}" if store else " https:"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        f"connect-src 'self'{upload}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )


def secure(response: Response, settings: Settings) -> None:
    """Add the headers that are not there yet."""
    for name, value in _ALWAYS.items():
        response.headers.setdefault(name, value)
    if response.mimetype == "text/html":
        response.headers.setdefault("Content-Security-Policy", content_security_policy(settings))
        response.headers.setdefault("Cache-Control", "private, no-store")
    else:
        response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    if settings.base_url.startswith("https://"):
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")


CORS_SENT = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, Range"
CORS_SHOWN = (
    "Content-Disposition, Content-Range, ETag, Idempotency-Replayed, Location, RateLimit, RateLimit-Policy, Retry-After"
)


def allow_origin(request: Request, response: Response, settings: Settings) -> None:
    """Let pages of the configured origins use the API (Fetch standard §3.2): with tokens, never with our cookie."""
    if not request.path.startswith("/api/") or not settings.cors_origins:
        return
    response.vary.add("Origin")
    origin = request.headers.get("Origin")
    if origin is None or origin not in settings.cors_origins.split():
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Expose-Headers"] = CORS_SHOWN
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "GET")
        response.headers["Access-Control-Allow-Headers"] = CORS_SENT
        response.headers["Access-Control-Max-Age"] = "600"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
