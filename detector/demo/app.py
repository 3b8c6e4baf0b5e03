"""The page as an application: what it serves, to whom, and with which headers."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import jinja2
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from detector.base.errors import ExpectedError
from detector.demo import limits, wording
from detector.demo.judge import Judge
from detector.demo.limits import Limiter, Refusal
from detector.demo.samples import Sample
from detector.images.opener import FORMATS

HERE = Path(__file__).parent

# A page elsewhere that points its own name at this machine would be served otherwise.
HOSTS = ["127.0.0.1", "localhost"]
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


class SafeHeaders:
    """Adds HEADERS to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of ASGI."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, with_headers)


def create(judge: Judge, samples: Sequence[Sample], limiter: Limiter | None = None) -> Starlette:
    """Give the application. samples: images to try, may be none. It keeps nothing it is sent."""
    limiter = limiter or Limiter()
    page = _page(judge, samples)

    async def index(request: Request) -> Response:
        return HTMLResponse(page)

    async def sample(request: Request) -> Response:
        number = request.path_params["number"]
        if not 1 <= number <= len(samples):
            return JSONResponse({"error": "There is no sample of this number."}, 404)
        return Response(samples[number - 1].coded, media_type=samples[number - 1].media_type)

    async def predict(request: Request) -> Response:
        chunks = request.stream()
        try:
            async with limits.in_time():
                name = _model_asked_for(request, judge)
                with limiter.admitted():
                    return JSONResponse(await judge.answer(name, await limits.read_body(chunks)))
        except Refusal as refusal:
            # A browser that is still sending would show a broken connection and not the sentence.
            await _read_out(chunks)
            wait = refusal.retry_after
            headers = {} if wait is None else {"Retry-After": str(wait)}
            return JSONResponse({"error": refusal.sentence}, refusal.status, headers)
        except ExpectedError as error:  # a model that cannot be opened
            return JSONResponse({"error": f"{error}."}, 500)
        except ClientDisconnect:
            return Response(status_code=400)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        judge.close()

    return Starlette(
        routes=[
            Route("/", index),
            Route("/samples/{number:int}", sample),
            Route("/api/predict", predict, methods=["POST"]),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[
            Middleware(SafeHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False),
        ],
        lifespan=lifespan,
    )


def _model_asked_for(request: Request, judge: Judge) -> str:
    """Give the model's name. Raises Refusal for other pages' requests and unknown models."""
    origin = request.headers.get("origin")
    # Without it: not a browser. Other pages could not read the answer, but make this machine work.
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Refusal(403, "Only the page itself may ask.")
    name = request.query_params.get("model", next(iter(judge.descriptions)))
    if name not in judge.descriptions:
        raise Refusal(404, f"There is no such model; there is {', '.join(judge.descriptions)}.")
    return name


async def _read_out(chunks: AsyncIterator[bytes]) -> None:
    with suppress(Refusal, ClientDisconnect):
        async with limits.in_time(10):
            async for _ in chunks:
                pass


def _page(judge: Judge, samples: Sequence[Sample]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        samples=samples,
        models=[
            {
                "name": name,
                "summary": wording.summary(model),
                "limits": wording.limits(model),
                "facts": wording.facts(model),
            }
            for name, model in judge.descriptions.items()
        ],
        limits={
            "bytes": limits.MAXIMUM_BYTES,
            "images": limits.MAXIMUM_IMAGES,
            "accept": ",".join(f"image/{name.lower()}" for name in FORMATS),
            "too_large": limits.too_large(),
            "sentence": f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}, up to "
            f"{limits.MAXIMUM_BYTES // 2**20} MB and {limits.MAXIMUM_PIXELS // 10**6} million "
            "pixels each",
        },
    )
