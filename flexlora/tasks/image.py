"""``image``: classify images with any vision transformer, from one folder a class or a datasets name."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image, UnidentifiedImageError
from transformers import AutoConfig, AutoModelForImageClassification

from flexlora.errors import FlexLoRAError
from flexlora.tasks.data import Split, TaskData, task_data
from flexlora.tasks.models import describe_source, load_model, load_processor
from flexlora.tasks.source import SourceOptions
from flexlora.tasks.tables import SPLIT_FILES, read_splits, split_rows
from flexlora.tasks.text import class_names, with_defaults

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
IMAGE_COLUMNS = ("image", "img")
MEAN, STD = 0.5, 0.5
"""Pixels become −1 to 1, as ViT was pretrained; a model with other numbers needs its own loop (see ``Recorder``)."""
MAX_BYTES = 4 * 2**30


def load(seed: int, control: str, source: SourceOptions) -> TaskData:
    """Build the task; see ``flexlora.tasks.load_task``."""
    source = with_defaults(source, "image")
    folder = Path(source.data or "")
    if source.data and folder.is_dir() and not any(path.suffix == ".parquet" for path in folder.iterdir()):
        tables = split_rows(_from_folder(folder), source)
    else:
        tables = read_splits(source, lambda table: _checked(table, source))
    labels = class_names(tables, source)
    config = load_processor(AutoConfig, source)
    size, channels = int(getattr(config, "image_size", 224)), int(getattr(config, "num_channels", 3))
    rows = sum(len(table) for table in tables.values())
    if rows * channels * size * size * 4 > MAX_BYTES:
        raise FlexLoRAError(
            f"{rows} images of {size} × {size} do not fit into {MAX_BYTES >> 30} GiB of memory, where this loop keeps "
            "them. Give fewer (VTAB has 1,000), or use your own loop with Recorder."
        )
    places = {name: place for place, name in enumerate(labels)}
    splits = {}
    for name, table in tables.items():
        pixels = torch.stack([_pixels(item, size, channels) for item in table["image"]])
        target = torch.tensor([places[str(value)] for value in table["label"]])
        splits[name] = Split({"pixel_values": pixels}, target)
    model = load_model(AutoModelForImageClassification, source, seed, control, num_labels=len(labels))
    return task_data(model, splits, str(source.model), tuple(labels), control=control, source=describe_source(source))


def _from_folder(folder: Path) -> dict[str, pd.DataFrame]:
    """Read ``folder/train/<class>/*.png``, and the same for validation and test."""
    found = {}
    for split, names in SPLIT_FILES.items():
        root = next((folder / name for name in names if (folder / name).is_dir()), None)
        if root is None:
            continue
        files = [path for path in sorted(root.glob("*/*")) if path.suffix.lower() in IMAGE_SUFFIXES]
        rows = [{"image": str(path), "label": path.parent.name} for path in files]
        found[split] = pd.DataFrame(rows, columns=["image", "label"])
    if not found:
        held = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
        raise FlexLoRAError(f"{folder} has no folder train with one folder a class; it holds: {held}.")
    return found


def _checked(table: pd.DataFrame, source: SourceOptions) -> pd.DataFrame:
    image = next((name for name in IMAGE_COLUMNS if name in table.columns), None)
    label = next((name for name in ("label", "labels", "fine_label") if name in table.columns), None)
    if image is None or label is None:
        told = ", ".join(map(str, table.columns))
        raise FlexLoRAError(f"data={source.data} has columns {told}; image and label are needed.")
    kept = pd.DataFrame({"image": table[image], "label": table[label].astype(str)})
    return kept.loc[kept["label"] != "-1"].copy()


def _pixels(item: Any, size: int, channels: int) -> torch.Tensor:
    """Return one image as (channels, size, size), −1 to 1, fp32."""
    where: Any = BytesIO(item["bytes"]) if isinstance(item, dict) and item.get("bytes") else item
    try:
        with Image.open(where) as image:
            small = image.convert("L" if channels == 1 else "RGB").resize((size, size), Image.Resampling.BILINEAR)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise FlexLoRAError(f"The image {str(item)[:200]} cannot be read: {error}") from error
    values = torch.from_numpy(np.array(small, dtype=np.float32)) / 255.0
    return ((values - MEAN) / STD).reshape(size, size, channels).permute(2, 0, 1).contiguous()
