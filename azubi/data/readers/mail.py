"""The text of a mail: its headers, its body, and the mails that are attached to it.

Knows nothing of other documents: how bytes become text, and what HTML says, is given.
"""

import base64
import email
import email.policy
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from typing import cast

Decode = Callable[[bytes, str], str]
LeaveOut = Callable[[str], None]

_HEADERS = ("From", "To", "Date", "Subject")
_DEEPEST = 10
"""Mails within mails."""
_MOST = 200
"""Mails within one."""
_SIGNATURES = ("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature")


def mail(data: bytes, decode: Decode, html: Callable[[str], str], leave_out: LeaveOut) -> str:
    """The text of a mail; `leave_out` is given each part that is not read."""
    return _Mail(decode, html, leave_out).text(_parsed(data))


def _parsed(data: bytes) -> EmailMessage:
    return email.message_from_bytes(data, policy=email.policy.default)


class _Mail:
    def __init__(self, decode: Decode, html: Callable[[str], str], leave_out: LeaveOut) -> None:
        self._decode = decode
        self._html = html
        self._leave_out = leave_out
        self._attached = 0

    def text(self, message: EmailMessage, depth: int = 0) -> str:
        headers = [f"{name}: {value}" for name in _HEADERS if (value := self._header(message, name))]
        parts = (text.strip() for text in self._parts(message, depth))
        return "\n\n".join(["\n".join(headers), *filter(None, parts)]).strip()

    def _header(self, message: EmailMessage, name: str) -> str:
        value = str(message[name] or "")
        if "\ufffd" in value:  # bytes outside ASCII, which no mail should have there
            raw = next(raw for key, raw in message.raw_items() if key.lower() == name.lower())
            value = " ".join(self._decode(str(raw).encode("ascii", "surrogateescape"), "").split())
        return value

    def _parts(self, part: EmailMessage, depth: int, bodies: bool = True) -> Iterator[str]:
        """The texts of a part, in their order; without `bodies` attached mails alone."""
        kind = part.get_content_type()
        if kind == "message/rfc822" or (part.get_filename() or "").lower().endswith(".eml"):
            yield self._inner(part, depth)
        elif kind == "multipart/alternative":
            yield from self._alternative(part, depth, bodies)
        elif part.is_multipart() and part.get_content_maintype() == "multipart":
            for each in part.iter_parts():
                yield from self._parts(cast(EmailMessage, each), depth, bodies)
        elif kind in ("text/plain", "text/html") and not part.is_attachment():
            if bodies:
                data = cast(bytes, part.get_payload(decode=True)) or b""
                text = self._decode(data, part.get_content_charset() or "")
                yield self._html(text) if kind == "text/html" else text
        elif part.get_content_maintype() == "image":
            self._leave_out("picture")
        elif kind not in _SIGNATURES:
            self._leave_out(f"attachment “{part.get_filename() or kind}”")

    def _inner(self, part: EmailMessage, depth: int) -> str:
        self._attached += 1
        if depth >= _DEEPEST or self._attached > _MOST:
            self._leave_out("mail attached too deep")
            return ""
        payload = part.get_payload()
        if not isinstance(payload, list):
            inner = _parsed(cast(bytes, part.get_payload(decode=True)) or b"")
        elif str(part.get("Content-Transfer-Encoding", "")).lower() == "base64":  # which mails must not have
            inner = _parsed(base64.b64decode(cast(str, cast(EmailMessage, payload[0]).get_payload())))
        else:
            inner = cast(EmailMessage, payload[0])
        return self.text(inner, depth + 1)

    def _alternative(self, part: EmailMessage, depth: int, bodies: bool) -> Iterator[str]:
        """One text in several forms: the plainest that says something, and what is attached to others."""
        for each in sorted(part.iter_parts(), key=lambda each: each.get_content_type() != "text/plain"):
            if bodies or each.is_multipart():
                texts = list(self._parts(cast(EmailMessage, each), depth, bodies))
                bodies = bodies and not any(map(str.strip, texts))
                yield from texts
