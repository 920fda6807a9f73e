"""Serve an exported model: the label of each list of features, and the radius that certifies it.

pip install fastapi uvicorn onnxruntime
LIPKIT_MODEL=model.onnx uvicorn --app-dir examples --factory serve_onnx:create_app
curl localhost:8000/predict -H "Content-Type: application/json" -d "[[0.5, -1.2], [2.0, 0.1]]"
"""

import json
import os

import numpy as np
import onnxruntime
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel


class Answer(BaseModel):
    """One decision: no features within `radius` (Euclidean distance) have another label."""

    label: str | None  # None: values that are not finite
    radius: float  # 0: nothing is certified


def create_app(path: str | None = None) -> FastAPI:
    """The application for a file of `lipkit.export_onnx`."""
    session = onnxruntime.InferenceSession(path or os.environ["LIPKIT_MODEL"])
    facts = session.get_modelmeta().custom_metadata_map
    (features,) = session.get_inputs()
    app = FastAPI(title="certified classifier")

    @app.get("/")
    def model() -> dict[str, str]:
        """Bound, classes, task, assumptions and the hash of the weights."""
        return facts

    @app.post("/predict")
    def predict(rows: list[list[float]]) -> list[Answer]:
        size = features.shape[1]
        if any(len(row) != size for row in rows):
            raise HTTPException(422, f"each list must have {size} features")
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
