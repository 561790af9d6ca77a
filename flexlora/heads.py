"""What is trained whole beside the adapter: the task's head, and whatever a checkpoint did not bring."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

HEAD_NAMES = ("classifier", "score", "qa_outputs", "head", "heads", "regressor", "pre_classifier", "pooler")
"""Heads by name, for models that do not say where their pretrained body is."""

PRETRAINED = ("transformers", "transformers_modules")
"""Packages of pretrained models: whatever their modules hold came together, unless they name a body."""

MOST_NEW = 0.5
"""A loaded model is mostly loaded. Where more of it than this looks new, the marks were lost on the way."""


def head_modules(model: nn.Module) -> list[nn.Module]:
    """Return the task heads: what a model, or one inside it, has outside its pretrained body.

    A transformers model names its body by ``base_model_prefix``: the modules beside it are the head, but for one that
    holds the output embeddings, which are pretrained. Where there is no such body, top-level names decide.
    """
    kept = {id(part) for part in embeddings(model)}
    top = dict(_stripped(model).named_children())
    found = [m for name, m in top.items() if name in HEAD_NAMES]
    if "classifier" in top and _body_like(_stripped(model)) and any(map(_body_like, top.values())):
        # A classifier after a body of another name than the class says, as Whisper's: what else is there leads to it.
        found = [m for m in top.values() if not _body_like(m)]
    for inner in model.modules():
        body = _body(inner)
        if body is not None:
            found += [child for child in inner.children() if child is not body and not _body_like(child)]
    own = (m for m in found if not any(id(part) in kept for part in m.modules()))
    return list(dict.fromkeys(own))


def beside_bodies(model: nn.Module) -> list[nn.Parameter]:
    """Return what stands beside pretrained models in modules of somebody's own, and bare parameters beside a body.

    Such as the layers of an ``nn.Module`` around an ``AutoModel``, transitions of a CRF, a learned temperature. Nothing
    where that is most of the weights: a model of somebody's own that has a small pretrained part.
    """
    inside = {id(p) for m in model.modules() if _body_like(m) and not _own(m) for p in m.parameters()}
    kept = {id(p) for part in embeddings(model) for p in part.parameters()}
    bare = [p for m in model.modules() if _body(m) is not None for p in m._parameters.values() if p is not None]
    found = [p for p in model.parameters() if inside and id(p) not in inside]
    every = [*found, *bare]
    if sum(p.numel() for p in every) > MOST_NEW * sum(p.numel() for p in model.parameters()):
        every = []
    return [p for p in dict.fromkeys(every) if id(p) not in kept]


def new_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that ``from_pretrained`` found no values for, embeddings left out.

    transformers marks each parameter that came from the checkpoint. Nothing is new where nothing is marked: a model
    from its configuration, or a copy.
    """
    whole = {id(p) for part in embeddings(model) for p in part.parameters(recurse=False)}
    return [p for p in _unmarked(model) if id(p) not in whole]


def new_embeddings(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights of input and output embeddings that were resized since, or never were in the checkpoint."""
    whole = {id(p) for part in embeddings(model) for p in part.parameters(recurse=False)}
    return [p for p in _unmarked(model) if id(p) in whole and p.dim() > 1]


def _unmarked(model: nn.Module) -> list[nn.Parameter]:
    every = list(model.parameters())
    new = [p for p in every if not getattr(p, "_is_hf_initialized", False)]
    size = sum(p.numel() for p in every)
    return [] if not size or sum(p.numel() for p in new) > MOST_NEW * size else new


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


def _own(module: nn.Module) -> bool:
    """True for a pretrained model's class of somebody's own, whose body has another name than the class says."""
    return type(module).__module__.partition(".")[0] not in PRETRAINED and _body(module) is None
