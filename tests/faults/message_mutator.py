"""Messages as no client of ours would send them: random values in every field, and random damage to the bytes."""

from __future__ import annotations

import math
import random
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

_WORDS = (
    "What is A1?",
    "",
    " ",
    "\x00",
    "\x1b[2J",
    "<|im_end|>",
    "../../etc/passwd",
    "\U0001f600",
    "a" * 2_001,
    "f1",
    "md",
)
_FLOATS = (0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e308, 5e-324)
_DEEPEST = 4


def random_message(descriptor: Descriptor, rng: random.Random, depth: int = 0) -> Any:
    """A message of this type; each field is set by the toss of a coin."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if rng.random() < 0.5 and depth < _DEEPEST:
            if field.is_repeated:
                _fill(getattr(message, field.name), field, rng, depth)
            elif field.message_type is not None:
                getattr(message, field.name).CopyFrom(random_message(field.message_type, rng, depth + 1))
            else:
                setattr(message, field.name, _value(field, rng))
    return message


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes with a few of them changed, left out, doubled, or put in."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(4):
            case 0:
                out[at:at] = rng.randbytes(rng.randint(1, 12))
            case 1:
                del out[at : at + rng.randint(1, 8)]
            case 2:
                out[at:at] = out[at : at + rng.randint(1, 40)]
            case _:
                if at < len(out):
                    out[at] = rng.randrange(256)
    return bytes(out)


def _fill(place: Any, field: FieldDescriptor, rng: random.Random, depth: int) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return
    for _ in range(rng.choice((1, 1, 2, 12))):
        if field.message_type is not None:
            place.append(random_message(field.message_type, rng, depth + 1))
        else:
            place.append(_value(field, rng))


def _value(field: FieldDescriptor, rng: random.Random) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        word = rng.choice(_WORDS)
        return word.encode() if field.type == FieldDescriptor.TYPE_BYTES else word
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.choice(_FLOATS if kind == FieldDescriptor.CPPTYPE_DOUBLE else _FLOATS[:6])
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return rng.choice((0, 1, 2, 77))
    bits = 31 if kind in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32) else 63
    least = 0 if kind in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64) else -(2**bits)
    return rng.choice((0, 1, 2, 5, 1_000, 2**bits - 1, least))
