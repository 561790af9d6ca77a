"""What the safetensors format lays down: how large its head may be, and how many bytes a number takes."""

from __future__ import annotations

MAX_HEADER_BYTES = 100 << 20
"""What the safetensors library allows."""

ITEM_BYTES = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2"), 1),
}
"""Type as safetensors names it → bytes of one number."""
