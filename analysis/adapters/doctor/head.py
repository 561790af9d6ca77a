"""A classification adapter without its head."""

from __future__ import annotations

from analysis.adapters.doctor.finding import WRONG, Check, Examined, Finding

HEADS = {"SEQ_CLS": "classifier or score", "TOKEN_CLS": "classifier", "QUESTION_ANS": "qa_outputs"}
"""``task_type`` whose model gets a new, random head → how that is usually called."""
_NO_HEAD = (".bias", "lora_", "base_layer", "magnitude")


def _no_head(examined: Examined) -> Finding | None:
    usual = HEADS.get(str(examined.config.get("task_type")))
    heads = [name for name in examined.adapter.carried if not any(part in name for part in _NO_HEAD)]
    if usual is None or heads:
        return None
    if any(matrix.name.split(".")[-1] in usual.split(" or ") for matrix in examined.adapter.matrices):
        return None
    return Finding(
        "no_head",
        WRONG,
        f"task_type is {examined.config['task_type']}, and the file holds no tensor of a head: whoever loads it gets "
        "a random one.",
        _advice(examined.config.get("modules_to_save"), usual),
        0,
    )


def _advice(listed: object, usual: str) -> str:
    """Say whether the configuration forgot the head, or the saving lost what it names."""
    if isinstance(listed, list | tuple) and listed:
        names = " and ".join(map(str, listed))
        return (
            f"modules_to_save names {names}, so the head was trained and lost when the file was saved or converted: "
            "save the trained model anew with PEFT's save_pretrained, or take the file from before it was converted."
        )
    return (
        f"modules_to_save is empty: if the head was trained, name it there ({usual}, by what the model calls it) and "
        "save the trained model anew."
    )


HEAD = (
    Check(
        "no_head",
        "No head saved",
        f"task_type is {', '.join(HEADS)} and no weight beside the factors",
        "transformers makes the head of these models anew, at random, when they are loaded",
        _no_head,
        needs_config=True,
    ),
)
