"""What is trained whole beside the adapter: the task's head, and whatever a checkpoint did not bring."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

HEAD_NAMES = ("classifier", "score", "qa_outputs", "head", "heads", "regressor", "pre_classifier", "pooler")
"""Heads by name, for models that do not say where their pretrained body is."""

MOST_NEW = 0.5
"""A loaded model is mostly loaded. Where more of it than this looks new, the marks were lost on the way."""


def head_modules(model: nn.Module) -> list[nn.Module]:
    """Return the task heads: what a model, or one inside it, has outside its pretrained body.

    A transformers model names its body by ``base_model_prefix``: the modules beside it are the head, but for one that
    holds the output embeddings, which are pretrained. Where there is no such body, top-level names decide.
    """
    kept = {id(part) for part in embeddings(model)}
    found = [m for name, m in _stripped(model).named_children() if name in HEAD_NAMES]
    for inner in model.modules():
        body = _body(inner)
        if body is not None:
            found += [child for child in inner.children() if child is not body and not _body_like(child)]
    own = (m for m in found if not any(id(part) in kept for part in m.modules()))
    return list(dict.fromkeys(own))


def new_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that ``from_pretrained`` found no values for, embeddings left out.

    transformers marks each parameter that came from the checkpoint. Nothing is new where nothing is marked: a model
    from its configuration, or a copy.
    """
    whole = {id(p) for part in embeddings(model) for p in part.parameters(recurse=False)}
    every = list(model.parameters())
    new = [p for p in every if not getattr(p, "_is_hf_initialized", False)]
    size = sum(p.numel() for p in every)
    if not size or sum(p.numel() for p in new) > MOST_NEW * size:
        return []
    return [p for p in new if id(p) not in whole]


def embeddings(model: nn.Module) -> Iterator[nn.Module]:
    """Yield input and output embeddings of a model and of those inside it."""
    for module in model.modules():
        for key in ("get_input_embeddings", "get_output_embeddings"):
            getter = getattr(module, key, None)
            try:
                found = getter() if callable(getter) else None
            except (AttributeError, NotImplementedError, TypeError):
                # A model without embeddings of words answers so.
                continue
            if isinstance(found, nn.Module):
                yield found


def _stripped(model: nn.Module) -> nn.Module:
    """Return the model that a compiled one wraps."""
    inner = getattr(model, "_orig_mod", model)
    return inner if isinstance(inner, nn.Module) else model


def _body(module: nn.Module) -> nn.Module | None:
    prefix = getattr(module, "base_model_prefix", None)
    body = module._modules.get(prefix) if isinstance(prefix, str) and prefix else None
    return body if isinstance(body, nn.Module) else None


def _body_like(module: nn.Module) -> bool:
    return isinstance(getattr(module, "base_model_prefix", None), str)
