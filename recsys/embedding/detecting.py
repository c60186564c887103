"""Things in a picture, by a detection model: what a search may be narrowed to.

picture --transformers' object-detection pipeline--> regions, the surest first
"""
# ruff: noqa: PLC0415  torch takes seconds to import: not before a model is loaded

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

from PIL import Image

from recsys.embedding.decoding import Crop
from recsys.errors import EncoderError

SUREST = 10
"""Regions proposed at the most."""

LEAST_SURE = 0.3
"""Of a region, 0 to 1."""


class Region(NamedTuple):
    """A thing in a picture."""

    label: str
    score: float
    """How sure the model is, 0 to 1."""
    crop: Crop


class Detector:
    """A detection model by its hub id or local folder, loaded when it is first asked."""

    def __init__(self, name: str) -> None:
        self._name = name

    def regions(self, picture: Image.Image) -> list[Region]:
        """What is in a picture, the surest first. Raises EncoderError where the model cannot be loaded."""
        width, height = picture.size
        found = []
        for thing in self._pipeline(picture, threshold=LEAST_SURE):
            box = thing["box"]
            left, top = max(0, box["xmin"]), max(0, box["ymin"])
            right, bottom = min(width, box["xmax"]), min(height, box["ymax"])
            if left < right and top < bottom:
                share = (
                    left / width,
                    top / height,
                    (right - left) / width,
                    (bottom - top) / height,
                )
                found.append(Region(str(thing["label"]), float(thing["score"]), share))
        return sorted(found, key=lambda region: -region.score)[:SUREST]

    @cached_property
    def _pipeline(self) -> Callable[..., list[dict[str, Any]]]:
        from transformers import pipeline

        try:
            made: Any = pipeline("object-detection", model=self._name, device="cpu")
        except Exception as error:
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            raise EncoderError(
                f"embedding.detection_model: cannot load {self._name!r} ({reason}); expected a folder, or the hub id "
                "of an object-detection model of transformers, or 'none'"
            ) from error
        return lambda *asked, **more: list(made(*asked, **more))
