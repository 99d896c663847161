"""Several hosts on one machine: each with its own address, processes, /tmp, home and sshd, on a private bridge.

They share every other folder, as machines share a network disk. For `ray up`, the loss of a host and cut networks,
with real SSH and real processes. Needs root and the Debian packages of `PACKAGES`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: By the program that each brings.
PACKAGES = {
    "ip": "iproute2",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "rsync": "rsync",
    "unshare": "util-linux",
}

NETWORK = "10.98.0"
BRIDGE = "tsbr0"

#: What the folders of hosts' disks are called.
_FOLDERS = "transfer-sweep-hosts-"

#: A file for each host that was made, by its name: what has none was made by somebody else, and is let alone.
_MADE = Path("/var/tmp/transfer-sweep-made")

#: Folders that every host has of its own, so what lies under them must be mounted to be seen.
_OWN = (Path("/tmp"), Path("/root"))


def why_not() -> str:
    """Why this machine can make no hosts; empty where it can."""
    if os.geteuid() != 0:
        return "making hosts needs root"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    lacking = sorted({package for program, package in PACKAGES.items() if shutil.which(program, path=path) is None})
    if lacking:
        return f"the Debian packages {', '.join(lacking)} are not installed"
    tried = subprocess.run(["unshare", "--net", "--pid", "--fork", "--mount", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else f"namespaces cannot be made here: {tried.stderr.decode().strip()}"


class Hosts:
    """Hosts 1, 2, … at `address(number)`, after `begin()`; all of them end with `end()`, and nothing else does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._networks: dict[int, str] = {}
        """By the inode of every network namespace that was made, the name of its host."""

    def begin(self) -> None:
        """Make the key and the bridge."""
        (self.folder / "key").unlink(missing_ok=True)
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "key"))
        Path("/run/sshd").mkdir(exist_ok=True)
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
        _run("ip", "addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        _run("ip", "link", "set", BRIDGE, "up")

    @property
    def key(self) -> Path:
        """The private key that opens every host."""
        return self.folder / "key"

    @property
    def bridge_address(self) -> str:
        """The address of this machine that every host reaches."""
        return f"{NETWORK}.1"

    @property
    def numbers(self) -> tuple[int, ...]:
        """The hosts that have power."""
        return tuple(sorted(self._processes))

    def address(self, number: int) -> str:
        """Of a host."""
        return f"{NETWORK}.{number + 1}"

    def start(self, number: int) -> str:
        """Make a host, or power one on again with the disk that it had; its address, once its sshd answers."""
        name, place = f"ts{number}", self.folder / f"host-{number}"
        (place / "root/.ssh").mkdir(parents=True, exist_ok=True)
        (place / "tmp").mkdir(exist_ok=True)
        (place / "tmp").chmod(0o1777)
        shutil.copy(f"{self.key}.pub", place / "root/.ssh/authorized_keys")
        (place / "root/.bashrc").write_text("")
        if not (place / "hostkey").exists():
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / "hostkey"))
        (place / "sshd_config").write_text(
            f"ListenAddress {self.address(number)}\nHostKey {place}/hostkey\nPermitRootLogin prohibit-password\n"
            "PasswordAuthentication no\nPidFile none\nStrictModes no\nMaxStartups 100\n"
        )
        try:
            self._connect(number, name)
            self._power_on(name, place, number)
            self._await_ssh(number, place)
        except BaseException:
            self.power_off(number)  # nobody else knows of a host that is half made
            raise
        return self.address(number)

    def _power_on(self, name: str, place: Path, number: int) -> None:
        shared = "".join(_mount(folder, place) for folder in _needed())
        script = f"""
            set -e
            hostname {name}
            {shared}
            mount --rbind {place}/root /root
            mount --rbind {place}/tmp /tmp
            mount -t tmpfs -o size=2g tmpfs /dev/shm
            exec /usr/sbin/sshd -D -e -f {place}/sshd_config
        """
        words = ["ip", "netns", "exec", name, "unshare", "--pid", "--fork", "--mount", "--uts", "--mount-proc"]
        with (place / "log").open("ab") as log:
            self._processes[number] = subprocess.Popen(
                [*words, "--kill-child", "bash", "-c", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def cut(self, number: int) -> None:
        """Pull the network cable."""
        _run("ip", "link", "set", f"vts{number}", "down")

    def mend(self, number: int) -> None:
        """Put it back."""
        _run("ip", "link", "set", f"vts{number}", "up")

    def power_off(self, number: int) -> None:
        """All processes of a host die at once."""
        process = self._processes.pop(number, None)
        if process:
            for child in _children(process.pid):
                os.kill(child, signal.SIGKILL)  # the first process of the host's namespace, and so all of them
            process.kill()
            process.wait()
            time.sleep(0.2)
        subprocess.run(["ip", "link", "del", f"vts{number}"], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", f"ts{number}"], capture_output=True, check=False)
        (_MADE / f"ts{number}").unlink(missing_ok=True)

    def run(self, number: int, command: str, *, seconds: float = 60, check: bool = True) -> str:
        """What a shell command says on a host, over SSH."""
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        answer = subprocess.run(
            ["ssh", "-i", str(self.key), *options, f"root@{self.address(number)}", command],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and answer.returncode:
            raise RuntimeError(f"host {number}: {command!r} gave {answer.returncode}: {answer.stdout}{answer.stderr}")
        return answer.stdout

    def end(self) -> None:
        """End every host and take the bridge down."""
        for number in list(self._processes):
            self.power_off(number)
        subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True, check=False)

    def left(self) -> list[str]:
        """What is on this machine of every host that was ever made: namespaces, the bridge, processes."""
        bridge = subprocess.run(["ip", "link", "show", BRIDGE], capture_output=True, check=False)
        found = [f"namespace {name}" for name in _left(_listed())] + [f"bridge {BRIDGE}"] * (not bridge.returncode)
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                if name := self._networks.get((process / "ns/net").stat().st_ino):
                    found.append(f"process {process.name} of {name}: {(process / 'comm').read_text().strip()}")
        return found

    def _connect(self, number: int, name: str) -> None:
        _MADE.mkdir(exist_ok=True)
        (_MADE / name).touch()
        _run("ip", "netns", "add", name)
        self._networks[Path(f"/run/netns/{name}").stat().st_ino] = name
        _run("ip", "link", "add", f"v{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "link", "set", f"v{name}", "master", BRIDGE, "up")
        for words in (
            ("addr", "add", f"{self.address(number)}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
            ("route", "add", "default", "via", self.bridge_address),  # without one Ray falls back to 127.0.0.1
        ):
            _run("ip", "-n", name, *words)

    def _await_ssh(self, number: int, place: Path) -> None:
        stop = time.monotonic() + 30
        while time.monotonic() < stop:
            try:
                with socket.create_connection((self.address(number), 22), timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"host {number} did not start: {(place / 'log').read_text()}")


@contextmanager
def hosts() -> Iterator[Hosts]:
    """Hosts that end with the context; what an earlier run left behind is taken away first."""
    _take_away_the_old()
    folder = Path(tempfile.mkdtemp(prefix=_FOLDERS, dir="/var/tmp"))
    made = Hosts(folder)
    try:
        made.begin()
        yield made
    finally:
        made.end()
        shutil.rmtree(folder, ignore_errors=True)


def _take_away_the_old() -> None:
    """What a run that was killed could not end: its hosts, their networks and their disks."""
    for name in _left(_listed()):
        found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout
        for process in found.split():
            with suppress(ProcessLookupError):  # the first process of a host takes the others along
                os.kill(int(process), signal.SIGKILL)
        subprocess.run(["ip", "link", "del", f"v{name}"], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        (_MADE / name).unlink(missing_ok=True)
    subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True, check=False)
    for folder in Path("/var/tmp").glob(f"{_FOLDERS}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _listed() -> str:
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout


def _left(listed: str) -> list[str]:
    """The hosts of these tests among the namespaces that `ip netns list` lists."""
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    return [name for name in names if re.fullmatch(r"ts\d+", name) and (_MADE / name).exists()]


def _needed() -> list[Path]:
    """Folders that a host needs and would not see: the interpreter, its environment, this checkout."""
    places = [Path(sys.prefix), Path(sys.base_prefix), Path(__file__).resolve().parents[2]]
    places = [place.resolve() for place in places] + places
    hidden = {place for place in places if any(place.is_relative_to(own) for own in _OWN)}
    return sorted(
        place for place in hidden if not any(place != other and place.is_relative_to(other) for other in hidden)
    )


def _mount(folder: Path, place: Path) -> str:
    target = place / folder.relative_to("/")
    target.mkdir(parents=True, exist_ok=True)
    words = f"mount --bind {shlex.quote(str(folder))} {shlex.quote(str(target))}\n"
    return words + f"mount -o remount,bind,ro {shlex.quote(str(target))}\n"


def _children(process: int) -> list[int]:
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(word) for word in text.split()]


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
