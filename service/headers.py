"""What every answer tells browsers and caches: keep nothing, run nothing, embed nothing."""

from flask import Flask, Response, request

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

UNLESS_SET = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""What a page that is made for browsers may say otherwise about itself."""

HSTS = "max-age=31536000"


def register(app: Flask) -> None:
    """Add the headers to every answer, those to errors included."""

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.update(ALWAYS)
        for name, value in UNLESS_SET.items():
            response.headers.setdefault(name, value)
        if request.is_secure:  # over plain HTTP browsers must ignore it
            response.headers["Strict-Transport-Security"] = HSTS
        return response
