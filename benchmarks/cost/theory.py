"""FLOPs and bytes of a step by hand: what the mathematics needs, whatever the code does.

A multiplication and an addition are two FLOPs; only matrix products count, as in ``torch.utils.flop_counter``. T is the
number of tokens (rows) that a product sees, r a rank. All functions are exact integers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cost.shapes import Shape

POSITIONS = 512
"""Relative positions that DeBERTa tells apart."""

PEAKS = {"H200": (989e12, 4.8e12), "H100": (989e12, 3.35e12), "A100": (312e12, 2.0e12)}
"""Part of a device's name → dense bf16 FLOP/s and bytes/s of its memory, as the maker states them."""


@dataclass(frozen=True)
class Product:
    """``count`` equal linear layers y = x Wᵀ, x (rows, n_in), W (n_out, n_in).

    Attributes:
        adapted: a low-rank term stands beside W.
        trained: W itself is trained.
        again: how often its forward is computed again in the backward pass (1 under activation checkpointing).
        shared: W is that of another product of the list.
        last: nothing in its layer reads y, so that only h = x Aᵀ is computed again.
        from_frozen: x needs no gradient: it comes from frozen parameters alone.
    """

    rows: int
    n_in: int
    n_out: int
    count: int = 1
    adapted: bool = False
    trained: bool = False
    again: int = 0
    shared: bool = False
    last: bool = False
    from_frozen: bool = False

    @property
    def base_passes(self) -> int:
        """How often W is multiplied with something in a step: y, dx, y again, dW."""
        return 2 + self.trained + (self.again if not self.last else 0) - self.from_frozen


def linear_flops(rows: int, n_in: int, n_out: int) -> int:
    """Y = x Wᵀ: 2 T n_in n_out; dx = dy W and dW = dyᵀ x cost the same each."""
    return 2 * rows * n_in * n_out


def lora_forward_flops(rows: int, n_in: int, n_out: int, rank: int) -> int:
    """H = x Aᵀ and y += h Bᵀ: 2 T r (n_in + n_out)."""
    return 2 * rows * rank * (n_in + n_out)


def lora_backward_flops(rows: int, n_in: int, n_out: int, rank: int) -> int:
    """Gradients dh = dy B, dB = dyᵀ h, dA = dhᵀ x, dx += dh A: 4 T r (n_in + n_out).

    Keeping x alone and computing h again adds 2 T r n_in.
    """
    return 4 * rows * rank * (n_in + n_out)


def orthogonality_flops(n_in: int, n_out: int, rank: int) -> int:
    """Gram matrices PᵀP and QQᵀ, and the gradients (PᵀP − I)Pᵀ and (QQᵀ − I)Q: 4 r² (n_in + n_out), for any T."""
    return 4 * rank * rank * (n_in + n_out)


def attention_flops(batch: int, heads: int, length: int, head_size: int) -> int:
    """Scores and mixed values of one layer's forward pass: 4 B H S² d; the backward pass costs twice that."""
    return 4 * batch * heads * length * length * head_size


def relative_attention_flops(batch: int, heads: int, length: int, head_size: int, positions: int) -> int:
    """DeBERTa's content-to-position and position-to-content scores: 4 B H S d · positions; backward twice that."""
    return 4 * batch * heads * length * positions * head_size


def products(shape: Shape) -> list[Product]:
    """Return the linear layers of a shape: of its layers, and its head."""
    body = _llama(shape) if shape.family == "llama" else _encoder(shape)
    if shape.family == "llama":
        return [*body, Product(shape.batch * shape.length, shape.hidden, shape.vocabulary)]
    # BERT's pooler belongs to its body and is frozen.
    pooler = Product(shape.batch, shape.hidden, shape.hidden, trained=shape.family == "deberta")
    return [*body, pooler, Product(shape.batch, shape.hidden, 2, trained=True)]


def base_flops(shape: Shape) -> int:
    """The frozen model's part of one step: forward, and back to the first adapted matrices through every layer."""
    total = sum(
        item.count * item.base_passes * linear_flops(item.rows, item.n_in, item.n_out) for item in products(shape)
    )
    size = shape.hidden // shape.heads
    attention = attention_flops(shape.batch, shape.heads, shape.length, size)
    if shape.family == "deberta":
        attention += relative_attention_flops(shape.batch, shape.heads, shape.length, size, POSITIONS)
    return total + shape.layers * (3 + shape.checkpointing) * attention


def adapter_flops(shape: Shape, rank: int) -> int:
    """What low-rank terms of this rank beside every adapted matrix add to a step."""
    total = 0
    for item in products(shape):
        if item.adapted:
            size = item.rows, item.n_in, item.n_out, rank
            down = linear_flops(item.rows, item.n_in, rank)
            again = item.again * (down if item.last else lora_forward_flops(*size))
            needed = lora_forward_flops(*size) + again + lora_backward_flops(*size) - item.from_frozen * down
            total += item.count * needed
    return total


def regularizer_flops(shape: Shape, rank: int) -> int:
    """What the orthogonality term of all adapted matrices adds to a step."""
    return sum(item.count * orthogonality_flops(item.n_in, item.n_out, rank) for item in _matrices(shape))


def step_flops(shape: Shape, contestant: str) -> int:
    """One step of a contestant (by its plain name), at the least: nothing is computed twice but what ``shape`` says."""
    if contestant == "floor":
        return base_flops(shape)
    rank = shape.rank * 3 // 2 if contestant == "peft_adalora" else shape.rank
    orthogonal = contestant in ("flexlora", "peft_adalora")
    extra = regularizer_flops(shape, rank) if orthogonal else 0
    return base_flops(shape) + adapter_flops(shape, rank) + extra


def adapter_parameters(shape: Shape, rank: int) -> int:
    """Trained values of the low-rank terms, λ not counted: r (n_in + n_out) a matrix."""
    return sum(item.count * rank * (item.n_in + item.n_out) for item in _matrices(shape))


def step_bytes(shape: Shape, *, half: bool) -> dict[str, int]:
    """Bytes that a LoRA step must move at the least, if every matrix product read and wrote its operands once.

    Args:
        shape: what is trained.
        half: products in bf16 (2 bytes a value), else fp32.

    Returns:
        ``weights``: every frozen W, once a pass. ``activations``: x and y, and dy and dx, of every linear layer, and x
        and dy again for the low-rank gradients. ``adapter``: fp32 value and both moments read and written, gradient
        written and read. ``total``: their sum.
    """
    size = 2 if half else 4
    weights = activations = 0
    for item in products(shape):
        passes = item.base_passes - item.trained
        weights += item.count * passes * item.n_in * item.n_out * size
        shared = passes + item.adapted
        activations += item.count * shared * item.rows * (item.n_in + item.n_out) * size
    adapter = adapter_parameters(shape, shape.rank) * 4 * 8
    return {
        "weights": weights,
        "activations": activations,
        "adapter": adapter,
        "total": weights + activations + adapter,
    }


def least_ms(shape: Shape, device_name: str) -> float | None:
    """Return the time that FLOPs or bytes alone need at the device's stated peak, the larger; None if unknown."""
    for key, (flops, bandwidth) in PEAKS.items():
        if key in device_name:
            moved = step_bytes(shape, half=shape.autocast or shape.half_weights)["total"]
            return 1e3 * max(step_flops(shape, "peft_lora") / flops, moved / bandwidth)
    return None


def _matrices(shape: Shape) -> list[Product]:
    return [item for item in products(shape) if item.adapted and not item.shared]


def _llama(shape: Shape) -> list[Product]:
    hidden, wide = shape.hidden, shape.intermediate
    narrow = hidden // shape.heads * shape.key_value_heads
    sides = {
        "q_proj": (hidden, hidden), "k_proj": (hidden, narrow), "v_proj": (hidden, narrow), "o_proj": (hidden, hidden),
        "gate_proj": (hidden, wide), "up_proj": (hidden, wide), "down_proj": (wide, hidden),
    }  # fmt: skip
    found = []
    for name, side in sides.items():
        one = Product(
            shape.batch * shape.length, *side, shape.layers, name in shape.targets,
            again=int(shape.checkpointing), last=name == "down_proj",
        )  # fmt: skip
        # For checkpointing, transformers has the embeddings require gradients.
        first = name in ("q_proj", "k_proj", "v_proj") and not shape.checkpointing
        found += _first_apart(one) if first else [one]
    return found


def _encoder(shape: Shape) -> list[Product]:
    rows, hidden, count, wide = shape.batch * shape.length, shape.hidden, shape.layers, shape.intermediate
    found = [
        *3 * _first_apart(Product(rows, hidden, hidden, count, adapted=True)),
        Product(rows, hidden, hidden, count, adapted=True),
        Product(rows, hidden, wide, count, adapted=True),
        Product(rows, wide, hidden, count, adapted=True),
    ]
    if shape.family == "deberta":
        # Query and key of every layer also project the relative positions, once for the whole batch.
        found.append(Product(POSITIONS, hidden, hidden, 2 * count, adapted=True, shared=True, from_frozen=True))
    return found


def _first_apart(item: Product) -> list[Product]:
    """Split off the layer whose x are the embeddings."""
    return [replace(item, count=1, from_frozen=True), replace(item, count=item.count - 1)]
