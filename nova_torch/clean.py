"""Clean a body before any terminal sees it, and check its size. Pure. Rules: DELIVERY 2.5.

Removed: ESC, every C0 but tab and LF, DEL, C1. CRLF and CR become LF. Invalid UTF-8 is refused.
"""

from __future__ import annotations

from nova_torch.errors import BodyEmpty, BodyTooLarge, InvalidText

MAX_BODY_BYTES = 1 << 20
CURE_TOO_LARGE = "Put it into a file and send the file's name, or split it."

_DROP = dict.fromkeys([*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0)])


def clean(body: str) -> str:
    """Return `body` as a terminal may see it: text, tabs and line feeds, nothing else."""
    return body.replace("\r\n", "\n").replace("\r", "\n").translate(_DROP)


def checked_body(body: str | bytes, *, max_bytes: int = MAX_BODY_BYTES) -> str:
    """Return the body as text, or say why it cannot be a message. The text is not cleaned yet.

    Raises InvalidText (not UTF-8, or lone surrogates), BodyTooLarge (over `max_bytes` of UTF-8) and BodyEmpty
    (nothing but white space and control bytes).
    """
    raw = body if isinstance(body, bytes) else _encoded(body)
    if len(raw) > max_bytes:
        raise BodyTooLarge(
            f"the body has {len(raw)} bytes, the limit is {max_bytes}.",
            CURE_TOO_LARGE,
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidText(f"the body is not UTF-8 (byte {error.start}).", "Encode it as UTF-8.") from None
    if not clean(text).strip():
        raise BodyEmpty("the body is empty.", "Say something, or use - to read it from standard input.")
    return text


def _encoded(body: str) -> bytes:
    try:
        return body.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidText(
            f"the body is not UTF-8 (character {error.start}).", "Encode it as UTF-8."
        ) from None
