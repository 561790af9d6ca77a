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
from flexlora.tasks.columns import Roles, checked_roles, named_columns, told_names
from flexlora.tasks.data import Split, TaskData, task_data
from flexlora.tasks.labelled import labelled_tables
from flexlora.tasks.labels import class_names, is_null, is_scalar, label_name, told_balance
from flexlora.tasks.models import describe_source, load_model, load_processor
from flexlora.tasks.rows import PLACE, Rows, refuse, shown
from flexlora.tasks.source import SourceOptions
from flexlora.tasks.split_files import SPLIT_FILES, find_split_files, told_content
from flexlora.tasks.tables import read_rows, split_rows
from flexlora.tasks.text import with_defaults

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
IMAGE_COLUMNS = ("image", "img")
LABELS = ("label", "labels", "fine_label")
MEAN, STD = 0.5, 0.5
"""Pixels become −1 to 1, as ViT was pretrained; a model with other numbers needs its own loop (see ``Recorder``)."""
MAX_BYTES = 4 * 2**30


def load(seed: int, control: str, source: SourceOptions) -> TaskData:
    """Build the task; see ``flexlora.tasks.load_task``."""
    source = with_defaults(source, "image")
    folder = Path(source.data or "")
    told: list[str] = []
    if source.data and folder.is_dir() and not _has_parquet(folder):
        found, told = _from_folder(folder)
    else:
        found, told = labelled_tables(
            read_rows(source), source, _roles, ("image",), known=LABELS, read_input=_read_images
        )
    tables = split_rows(found, source)
    labels = class_names(tables, source, told)
    if not labels:
        raise FlexLoRAError(f"data={source.data} has scores as labels; images are classified.")
    told += told_balance(tables["train"]["label"].tolist())
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
        images = zip(table["image"], table[PLACE], strict=True)
        pixels = torch.stack([_pixels(item, place, folder, size, channels) for item, place in images])
        target = torch.tensor([places[label_name(value)] for value in table["label"]])
        splits[name] = Split({"pixel_values": pixels}, target)
    model = load_model(AutoModelForImageClassification, source, seed, control, num_labels=len(labels))
    return task_data(
        model,
        splits,
        str(source.model),
        tuple(labels),
        notices=told,
        control=control,
        source=describe_source(source),
    )


def _has_parquet(folder: Path) -> bool:
    return any(files[0].suffix.lower() == ".parquet" for files in find_split_files(folder).values())


def _from_folder(folder: Path) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Read ``folder/train/<class>/*.png``, and the same for validation and test; tell which files are no images."""
    found, told = {}, []
    for split, names in SPLIT_FILES.items():
        root = next((folder / name for name in names if (folder / name).is_dir()), None)
        if root is None:
            continue
        files = [path for path in sorted(root.glob("*/*")) if not path.name.startswith(".")]
        images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
        within = [path.relative_to(folder).as_posix() for path in images]
        labels = [path.parent.name for path in images]
        found[split] = pd.DataFrame({"image": within, "label": labels, PLACE: within})
        others = [path.relative_to(folder).as_posix() for path in files if path.suffix.lower() not in IMAGE_SUFFIXES]
        loose = [path.name for path in root.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
        if others:
            told.append(f"{split}: files left out because they are no images: {len(others)}, such as {others[0]}.")
        if loose:
            told.append(
                f"{split}: images left out because they are in no folder of a class: {len(loose)}, such as {loose[0]}."
            )
    if not found:
        raise FlexLoRAError(f"{folder} has no folder train with one folder a class; it holds: {told_content(folder)}.")
    return found, told


def _roles(rows: Rows, source: SourceOptions) -> Roles:
    """Return the columns by their names, or by their order in ``columns=``: image, label."""
    named = named_columns(source)
    image = next((name for name in IMAGE_COLUMNS if name in (rows.names if named is None else named)), None)
    label = next((name for name in LABELS if name in (rows.names if named is None else named)), None)
    if named is not None and (image is None or label is None):
        if len(named) != 2:
            raise FlexLoRAError(f"columns={','.join(named)} names {len(named)} columns. Name two: image, then label.")
        image, label = named
    if image is None:
        raise FlexLoRAError(
            f"data={source.data} has columns {told_names(rows)}; image and label are needed ({rows.files}). Name "
            "others: columns=IMAGE,LABEL."
        )
    return checked_roles(rows, Roles((image,), label), source)


def _read_images(rows: Rows, column: str, source: SourceOptions) -> list[Any]:
    """Return what each cell holds: the bytes of a file, or where it is; None for nothing."""
    found: list[Any] = []
    for place, cell in zip(rows.places, rows.table[column].tolist(), strict=True):
        held = (cell.get("bytes") or cell.get("path")) if isinstance(cell, dict) else cell
        if held is not None and not isinstance(held, bytes | str) and not (is_scalar(held) and is_null(held)):
            refuse(source, place, column, f"{shown(cell)} is no image: neither bytes of a file nor where one is.")
        found.append(held if isinstance(held, bytes | str) and held else None)
    return found


def _pixels(item: bytes | str, place: str, folder: Path, size: int, channels: int) -> torch.Tensor:
    """Return one image as (channels, size, size), −1 to 1, fp32."""
    try:
        with Image.open(BytesIO(item) if isinstance(item, bytes) else folder / item) as image:
            small = image.convert("L" if channels == 1 else "RGB").resize((size, size), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        said = "no format that is known" if isinstance(error, UnidentifiedImageError) else str(error)[:200]
        raise FlexLoRAError(f"data={folder}: the image {place} cannot be read: {said}") from error
    values = torch.from_numpy(np.array(small, dtype=np.float32)) / 255.0
    return ((values - MEAN) / STD).reshape(size, size, channels).permute(2, 0, 1).contiguous()
