"""Messages as no client of ours would send them: random values in every field, and random damage to the bytes."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
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
    "mdp",
    "random",
    "evidence",
    "corpus",
    "\u202e\ufeff",
    "e\u0301" * 500,
    "{0.__class__} %s %n ${HOME}",
    "[1] [2] [99]",
    "What is A1 and what is E2 and what is F1 and what is O1?",
)
_FLOATS = (0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e308, 5e-324)
_NUMBERS = (
    FieldDescriptor.CPPTYPE_DOUBLE,
    FieldDescriptor.CPPTYPE_FLOAT,
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
)
_DEEPEST = 4
_PLANES = (0x20, 0x300, 0x600, 0x2000, 0x4E00, 0xFE00, 0x1F600, 0x20000, 0xE0000)
"""Where blocks of Unicode begin that text is cut and compared by: marks, other directions, joiners, no characters."""


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


def changed(message: Any, rng: random.Random) -> Any:
    """A copy of a message with one or two fields of it, at any depth, set to something else or left out."""
    copy = GetMessageClass(message.DESCRIPTOR)()
    copy.CopyFrom(message)
    for _ in range(rng.choice((1, 1, 1, 2))):
        _change(copy, rng)
    return copy


def reordered(frames: Sequence[bytes], rng: random.Random) -> tuple[bytes, ...]:
    """The messages of a client stream with one of them left out, sent twice, or in another place; one stays one."""
    out = list(frames)
    if len(out) > 1:
        taken = out.pop(rng.randrange(len(out)))
        for _ in range(rng.randrange(3)):
            out.insert(rng.randrange(len(out) + 1), taken)
    return tuple(out)


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


def _change(message: Any, rng: random.Random) -> None:
    """Change one of the fields that are there at any depth; a number, which has bounds, is likelier than others."""
    if not (spots := list(_spots(message))):
        return
    weights = [3 if field.cpp_type in _NUMBERS else 1 for _, field in spots]
    holder, field = rng.choices(spots, weights)[0]
    if rng.random() < 0.15:
        holder.ClearField(field.name)
    elif field.is_repeated:
        _fill(getattr(holder, field.name), field, rng, 0)
    elif field.message_type is not None:
        getattr(holder, field.name).CopyFrom(random_message(field.message_type, rng, 1))
    elif rng.random() < 0.5:
        setattr(holder, field.name, _near(field, getattr(holder, field.name), rng))
    else:
        setattr(holder, field.name, _value(field, rng))


def _spots(message: Any) -> Iterator[tuple[Any, FieldDescriptor]]:
    for field in message.DESCRIPTOR.fields:
        yield message, field
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        if field.is_repeated:
            for inner in getattr(message, field.name):
                yield from _spots(inner)
        elif message.HasField(field.name):
            yield from _spots(getattr(message, field.name))


def _near(field: FieldDescriptor, value: Any, rng: random.Random) -> Any:
    """A value that is likelier to be within its bounds than not, so that what is behind the checks is reached too."""
    if field.type == FieldDescriptor.TYPE_BYTES:
        return damaged(value, rng)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        at = rng.randrange(len(value) + 1)
        match rng.randrange(3):
            case 0:
                return (
                    value[:at] + "".join(chr(rng.choice(_PLANES) + rng.randrange(256)) for _ in range(3)) + value[at:]
                )
            case 1:
                return value[:at] + value[at + rng.randint(1, 20) :]
            case _:
                return value[:at] + value[max(0, at - 40) :]
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.random()
    if field.cpp_type in (FieldDescriptor.CPPTYPE_BOOL, FieldDescriptor.CPPTYPE_ENUM):
        return _value(field, rng)
    return rng.choice((rng.randint(0, 12), rng.randint(13, 2_048)))


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
