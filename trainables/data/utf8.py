"""Text files in UTF-8, or the place where one is not; knows nothing of what stands in them."""

from __future__ import annotations

from pathlib import Path

from trainables.faults import Invalid


def text_of(path: Path, first_bytes: int = -1) -> str:
    """The text of a file, or that of the whole lines among its first bytes, with every line end as a line feed.

    Raises:
        Invalid: naming the byte that is no UTF-8 and where it stands.
    """
    with path.open("rb") as file:
        data = file.read(first_bytes)
    if 0 <= first_bytes <= len(data):
        data = data[: data.rfind(b"\n") + 1] or data
    try:
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        fault = f"it must be text in UTF-8, got the byte 0x{data[error.start]:02x} in line {line}"
        raise Invalid(str(path), [f"{fault}; convert it, or fetch it again"]) from error
