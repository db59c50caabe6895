"""The messages of the Common Index File Format, and how they follow one another in a file.

A file is a Header, as many PostingsLists as it says, and as many DocRecords; each message comes
behind its length in bytes, a varint. In a list, ``docid`` of a posting is the difference to that of
the one before, the first being as it is.

J. Lin, J. Mackenzie, C. Kamphuis, C. Macdonald, A. Mallia, M. Siedlaczek, A. Trotman and A. de
Vries, "Supporting Interoperability Between Open-Source Search Engines with the Common Index File
Format", SIGIR 2020.
"""

from __future__ import annotations

from functools import cache
from typing import Any, BinaryIO, NamedTuple

from sparseret.errors import DocumentError, MissingExtraError

__all__ = ["CiffMessages", "ciff_messages", "read_message", "write_message"]

_MAX_BYTES = 2**31 - 1  # of a message, by protobuf


class CiffMessages(NamedTuple):
    """Classes of messages, as protobuf makes them."""

    header: Any
    postings_list: Any
    doc_record: Any
    error: type[Exception]
    """What parsing raises."""


@cache
def ciff_messages() -> CiffMessages:
    """Raises MissingExtraError where protobuf is not installed."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
    except ImportError as error:
        raise MissingExtraError("protobuf", "ciff", "the Common Index File Format") from error
    kinds: Any = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="sparseret_ciff.proto", package="sparseret.ciff", syntax="proto3"
    )
    layouts: dict[str, list[tuple[str, Any]]] = {
        "Header": [
            ("version", kinds.TYPE_INT32), ("num_postings_lists", kinds.TYPE_INT32),
            ("num_docs", kinds.TYPE_INT32), ("total_postings_lists", kinds.TYPE_INT32),
            ("total_docs", kinds.TYPE_INT32), ("total_terms_in_collection", kinds.TYPE_INT64),
            ("average_doclength", kinds.TYPE_DOUBLE), ("description", kinds.TYPE_STRING),
        ],
        "Posting": [("docid", kinds.TYPE_INT32), ("tf", kinds.TYPE_INT32)],
        "PostingsList": [
            ("term", kinds.TYPE_STRING), ("df", kinds.TYPE_INT64), ("cf", kinds.TYPE_INT64),
            ("postings", ".sparseret.ciff.Posting"),
        ],
        "DocRecord": [
            ("docid", kinds.TYPE_INT32), ("collection_docid", kinds.TYPE_STRING),
            ("doclength", kinds.TYPE_INT32),
        ],
    }  # fmt: skip
    for name, fields in layouts.items():
        layout = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, 1):
            added = layout.field.add(name=field, number=number, label=kinds.LABEL_OPTIONAL)
            if isinstance(kind, str):
                added.type, added.type_name = kinds.TYPE_MESSAGE, kind
                added.label = kinds.LABEL_REPEATED
            else:
                added.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"sparseret.ciff.{name}"))
        for name in layouts
    }
    return CiffMessages(
        made["Header"], made["PostingsList"], made["DocRecord"], message.DecodeError
    )


def read_message(stream: BinaryIO, kind: Any, what: str, where: str) -> tuple[Any, int]:
    """The next message of a file, and the bytes it took.

    Args:
        stream: at the length of the message.
        kind: class of the message.
        what: it is, for errors, such as "postings list 3 of 9".
        where: name of the file, for errors.

    Raises:
        DocumentError: the file ends, or has something else here.
    """
    length = shift = taken = 0
    while True:
        byte = stream.read(1)
        if not byte:
            raise _cut_short(what, where)
        taken += 1
        length |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            break
        if shift > 28:
            length = _MAX_BYTES + 1
            break
    if length > _MAX_BYTES:
        raise _foreign(what, where, "a length beyond 2 GiB")
    packed = stream.read(length)
    if len(packed) < length:
        raise _cut_short(what, where)
    made = kind()
    try:
        made.ParseFromString(packed)
    except ciff_messages().error as error:
        raise _foreign(what, where, str(error)) from error
    return made, taken + length


def write_message(stream: BinaryIO, message: Any) -> None:
    """Write a message behind its length."""
    packed = message.SerializeToString()
    length, prefix = len(packed), bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    stream.write(bytes(prefix))
    stream.write(packed)


def _cut_short(what: str, where: str) -> DocumentError:
    return DocumentError(f"{where}: the file ends within {what}: fetch or export it again")


def _foreign(what: str, where: str, why: str) -> DocumentError:
    return DocumentError(
        f"{where}: {what} cannot be read ({why}): the file is damaged, or not in the Common Index "
        "File Format"
    )
