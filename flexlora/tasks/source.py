"""Where the model and the data of a task come from, when they are the user's own. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from flexlora.settings import option

DTYPES = ("fp32", "bf16")
DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
"""What can stand between two columns of a file: name → sign, the first that fits is taken."""


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
        None,
        "Columns to use: texts, then the label, by the names that the files have; in files without a header line, "
        "names of all columns in order, - = one to leave out.",
    )
    delimiter: str | None = option(
        None, "What separates the columns of .csv and .tsv files; left out, it is found out.", choices=DELIMITERS
    )
    max_tokens: int | None = option(None, "Longer texts are cut (choice: left out) at so many tokens.", least=4)
    dtype: str = option("fp32", "Type of the frozen weights; the adapter is always fp32.", choices=DTYPES)
    activation_checkpointing: bool = option(
        False, "Compute activations twice instead of keeping them: slower, for models that do not fit otherwise."
    )


SOURCE_OPTIONS = tuple(SourceOptions.__dataclass_fields__)
"""Names of the options, which no embedded task takes."""
