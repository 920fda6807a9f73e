"""Serve an exported model: the label of each list of features, and the radius that certifies it.

pip install fastapi uvicorn onnxruntime
python examples/serve_onnx.py model.onnx
curl localhost:8000/predict -H "Content-Type: application/json" -d "[[0.5, -1.2], [2.0, 0.1]]"

Put it behind a proxy that does what proxies do, such as TLS and limits per client.
"""

import json
import os
import sys

import numpy as np
import onnxruntime
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

LONGEST = 2**20  # bytes of a request
MOST = 1000  # rows in a request, and so in the answer
SECONDS = 10.0  # that a client has to send a request and take the answer
CLIENTS = 1000  # at a time


class Answer(BaseModel):
    """One decision: no features within `radius` (Euclidean distance) have another label."""

    label: str | None  # None: values that are not finite
    radius: float  # 0: nothing is certified


class Limited:
    """An application that gets no body of more than `LONGEST` bytes: these are refused with 413."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        """Read the body, or as much of it as is allowed, and pass it on."""
        body, more = b"", scope["type"] == "http"
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > LONGEST:
                detail = f'{{"detail": "at most {LONGEST} bytes"}}'.encode()
                head = [(b"content-type", b"application/json"), (b"connection", b"close")]
                await send({"type": "http.response.start", "status": 413, "headers": head})
                return await send({"type": "http.response.body", "body": detail})
        messages = [{"type": "http.request", "body": body}] if scope["type"] == "http" else []

        async def whole():
            return messages.pop() if messages else await receive()

        await self.app(scope, whole, send)


def create_app(path: str | None = None) -> FastAPI:
    """The application for a file of `lipkit.export_onnx`."""
    session = onnxruntime.InferenceSession(path or os.environ["LIPKIT_MODEL"])
    facts = session.get_modelmeta().custom_metadata_map
    (features,) = session.get_inputs()
    app = FastAPI(title="certified classifier")
    app.add_middleware(Limited)

    @app.get("/")
    def model() -> dict[str, str]:
        """Bound, classes, task, assumptions and the hash of the weights."""
        return facts

    @app.post("/predict")
    def predict(rows: list[list[float]]) -> list[Answer]:
        size = features.shape[1]
        if len(rows) > MOST or any(len(row) != size for row in rows):
            raise HTTPException(422, f"at most {MOST} lists, each with {size} features")
        with np.errstate(over="ignore"):  # to infinity, which has no label
            x = np.array(rows, dtype="float32").reshape(-1, size)
        labels, radii = session.run(["label", "radius"], {features.name: x})
        classes = json.loads(facts["lipkit.classes"])
        names = [str(i) if classes is None else classes[i] for i in labels]
        return [
            Answer(label=None if i < 0 else name, radius=radius)
            for i, name, radius in zip(labels, names, radii.tolist(), strict=True)
        ]

    return app


def main(path: str) -> None:
    """Serve a file on port 8000, to clients that do not take too long."""
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Brief(H11Protocol):
        """A connection that ends after some time, whatever it has sent or taken by then."""

        def connection_made(self, transport):
            super().connection_made(transport)
            self.loop.call_later(SECONDS, transport.abort)

    uvicorn.run(create_app(path), http=Brief, limit_concurrency=CLIENTS)


if __name__ == "__main__":
    main(sys.argv[1])
