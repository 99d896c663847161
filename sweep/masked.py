"""Text without the credentials that a URI in it may hold; knows no storage."""

from __future__ import annotations

import re

#: What stands before the host, `user:password@`, where there is a password; then what Azure takes as a parameter.
_SECRETS = (
    (re.compile(r"(?P<kept>\b[A-Za-z][\w+.-]*://)[^/\s@?#]*:[^/\s@?#]*@"), r"\g<kept>***@"),
    (re.compile(r"(?P<kept>[?&](?:client_secret|sig)=)[^&\s'\"]+"), r"\g<kept>***"),
)


def masked(text: str) -> str:
    """The text with *** in place of names and passwords."""
    for secret, shown in _SECRETS:
        text = secret.sub(shown, text)
    return text
