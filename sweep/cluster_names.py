"""What only the user knows of a cluster, as values, and how such a text stands in YAML and in a shell."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, fields

from sweep.cluster import Provider

#: Ray and Python of every machine: those that the project is tested with. A machine with others cannot join.
RAY_VERSION = "2.60.0"
PYTHON_VERSION = "3.11.13"

#: The uv that cluster/node.sh brings that Python with. It knows those from before its own day, this one among them.
UV_VERSION = "0.9.5"


@dataclass(frozen=True, kw_only=True)
class Names:
    """What only the user can know; every default is a name to be changed."""

    cluster: str = "transfer-sweep"
    checkout: str = "."
    """The folder of this project that is copied to every machine."""
    python: str = PYTHON_VERSION
    ray: str = RAY_VERSION
    region: str = ""
    """Region of the cloud; empty for the usual one."""
    project: str = "CHANGE-ME"
    """Project id on Google's cloud."""
    image: str = "CHANGE-ME/transfer-sweep:latest"
    """Container image with the project, for Kubernetes; cluster/Dockerfile makes it."""
    head: str = "CHANGE-ME-HEAD-ADDRESS"
    workers: tuple[str, ...] = ("CHANGE-ME-WORKER-ADDRESS",)
    """Addresses of machines of one's own, and how to reach them."""
    ssh_user: str = ""
    ssh_key: str = "~/.ssh/id_ed25519"
    environment: tuple[tuple[str, str], ...] = ()
    """Further variables of cluster/node.sh on every machine of one's own."""
    worker_environment: tuple[tuple[str, str], ...] = ()
    """The same for workers alone."""

    def faults(self, provider: Provider) -> Iterator[str]:
        """Why a provider could not take them."""
        lower = provider in (Provider.GCP, Provider.KUBERAY)
        letters = "small letters" if lower else "letters"
        pattern = r"[a-z]([a-z0-9-]*[a-z0-9])?" if lower else r"[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?"
        if not re.fullmatch(pattern, self.cluster) or len(self.cluster) > 60:
            yield (
                f"the cluster's name must be at most 60 {letters}, digits and hyphens, and begin with a letter, "
                f"got {self.cluster!r}"
            )
        for name, pattern in _PATTERNS.items():
            if (given := getattr(self, name)) and not re.fullmatch(pattern, given, flags=re.ASCII):
                yield f"{name.replace('_', ' ')} must be one word of letters, digits and hyphens or dots, got {given!r}"
        for address in (self.head, *self.workers) if provider is Provider.LOCAL else ():
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]*", address):
                yield f"an address must be a host's name or number alone, got {address!r}; separate several by spaces"
        for field in fields(self):
            value = getattr(self, field.name)
            for text in (value,) if isinstance(value, str) else (one for pair in value for one in pair):
                if not text.isprintable():
                    yield f"{field.name.replace('_', ' ')} must be a line of printable characters, got {text!r}"


#: Names that others made rules for, of which these are a part; an image may have slashes and a tag too.
_PATTERNS = {
    "region": r"[a-z][a-z0-9-]*",
    "project": r"[A-Za-z][\w.:-]*",
    "image": r"[A-Za-z0-9][\w./:@-]*",
    "ssh_user": r"[A-Za-z_][\w.-]*",
}

#: Every name is yet to be changed.
USUAL_NAMES = Names()


def in_yaml(text: str) -> str:
    """A text as a value, plain where nothing else can be meant by it."""
    plain = re.fullmatch(r"(~/|\./|/|[A-Za-z])[\w./@-]*(:[\w.-]+)?|\.|\d+\.\d+\.\d+\.\d+", text, flags=re.ASCII)
    return text if plain and text.lower() not in _WORDS else json.dumps(text, ensure_ascii=False)


#: What YAML takes for something else than a text.
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def command_in_yaml(text: str) -> str:
    """A command that begins with a letter; quoted where a sign in it would end it."""
    return json.dumps(text, ensure_ascii=False) if re.search(r":(\s|$)|\s#", text) else text


def in_shell(text: str) -> str:
    """A text as one word of a shell; a leading ~ stands for the home there."""
    return text if text and all(c.isalnum() or c in "._-/:=@,~" for c in text) else shlex.quote(text)
