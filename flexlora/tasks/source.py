"""Where the model and the data of a task come from, when they are the user's own. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from flexlora.settings import option

DTYPES = ("fp32", "bf16")


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Options of the tasks that bring no model and no data: ``text``, ``choice`` and ``image``."""

    model: str | None = option(
        None, "Model: a folder, a .gguf file, package:NAME of an installed one, or a name on the Hugging Face hub."
    )
    data: str | None = option(
        None, "Data: a folder with train, validation and test files, or NAME:SUBSET of the datasets library."
    )
    columns: tuple[str, ...] | None = option(
        None, "Column names of files without a header line, in order; - = a column to leave out."
    )
    max_tokens: int | None = option(None, "Longer texts are cut (choice: left out) at so many tokens.", least=4)
    dtype: str = option("fp32", "Type of the frozen weights; the adapter is always fp32.", choices=DTYPES)
    activation_checkpointing: bool = option(
        False, "Compute activations twice instead of keeping them: slower, for models that do not fit otherwise."
    )


SOURCE_OPTIONS = tuple(SourceOptions.__dataclass_fields__)
"""Names of the options, which no embedded task takes."""
