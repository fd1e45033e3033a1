"""Downloads Debian 13's packages with apt in private state folders: without root, and without a change to the host.

Called by ``private_tree``. It uses the mirror, proxy and keyring of the host's apt and checks signatures. It fetches
packages for this machine's architecture only.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence

RELEASE = "trixie"  # Debian 13: the newest stable release, and the first with postgresql-17-timescaledb
_DEBIAN = {
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
    "sid",
}
_KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# Packages that only maintainer scripts need, or that our programs never call. Declared as installed, so that apt skips
# them. A missing name only makes the download larger.
_NOT_NEEDED = (
    "adduser", "debconf", "init-system-helpers", "libc-bin", "libjson-perl", "libipc-run-perl", "libllvm19",
    "libpam-modules", "libpam-modules-bin", "libpam-runtime", "libsasl2-modules-db", "locales", "netbase", "openssl",
    "passwd", "perl", "perl-base", "postgresql-client-common", "postgresql-common", "procps", "readline-common",
    "sensible-utils", "ssl-cert", "sysvinit-utils", "tzdata", "ucf",
)  # fmt: skip

_STATUS = ("-o", "APT::Status-Fd=1")  # lines "dlstatus:<file>:<percent>:<text>" among the output


class AptFailed(Exception):
    """apt failed; the message is apt's own."""


@dataclasses.dataclass(frozen=True)
class Mirror:
    """Where the host gets Debian from."""

    archive: str
    security: str | None
    signed_by: str | None


def host_mirror(etc: pathlib.Path = pathlib.Path("/etc/apt")) -> Mirror | None:
    """The Debian mirror that the host's apt uses; None where it uses none (another distribution)."""
    archive = security = signed_by = None
    for uri, suite, key in _host_entries(etc):
        release, _, pocket = suite.partition("-")
        if pocket == "security" or suite.endswith("/updates"):
            security = security or uri
        elif release in _DEBIAN and not pocket and archive is None:
            archive, signed_by = uri, key
    if archive is None:
        return None
    if signed_by is None and _KEYRING.exists():
        signed_by = str(_KEYRING)
    return Mirror(archive, security, signed_by)


def _host_entries(etc: pathlib.Path) -> Iterator[tuple[str, str, str | None]]:
    """(URI, suite, keyring) of every enabled binary source, in both of apt's formats."""
    parts = etc / "sources.list.d"
    for path in [etc / "sources.list", *sorted(parts.glob("*.list"))]:
        for line in _read(path).splitlines():
            entry = re.match(r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+\S", line)
            if entry:
                key = re.search(r"signed-by=(/\S+)", entry["options"] or "")
                yield entry["uri"], entry["suite"], key[1] if key else None
    for path in sorted(parts.glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", _read(path)):
            pairs = (line.partition(":") for line in stanza.splitlines() if not line.startswith("#"))
            fields = {name.lower(): value.strip() for name, _, value in pairs}
            if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
                continue
            keyring = fields.get("signed-by", "")
            for uri in fields.get("uris", "").split():
                for suite in fields.get("suites", "").split():
                    yield uri, suite, keyring if keyring.startswith("/") else None


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


class Apt:
    """apt-get with its state below ``work``; ``inherit`` are file descriptors that it keeps open (our lock)."""

    def __init__(self, work: pathlib.Path, mirror: Mirror, inherit: Sequence[int] = ()) -> None:
        self._inherit = tuple(inherit)
        self._conf = work / "apt.conf"
        self.archives = work / "cache/archives"
        for folder in (self.archives / "partial", work / "state/lists/partial"):
            folder.mkdir(parents=True, exist_ok=True)
        (work / "status").write_text("".join(map(_installed, _NOT_NEEDED)))
        (work / "sources.sources").write_text(_sources(mirror))
        (work / "apt.conf").write_text(
            f"""Dir::State "{work}/state";
Dir::State::status "{work}/status";
Dir::Cache "{work}/cache";
Dir::Etc::sourcelist "{work}/sources.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
Acquire::Languages "none";
Acquire::Retries "3";
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::CNF;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
"""
        )

    def update(self) -> Iterator[str]:
        """Fetches the package lists and checks their signatures; drops packages of an earlier, older list.

        Yields a progress line each second or so, as ``download`` does.
        """
        yield from _progress("Reading Debian's package lists", self._get("update", "--error-on=any", *_STATUS))
        for _ in self._get("autoclean"):
            pass

    def download(self, packages: Iterable[str]) -> Iterator[str]:
        """Fetches the packages with what they need into ``archives``."""
        yield from _progress("Downloading packages", self._get("install", "--download-only", *_STATUS, *packages))

    def _get(self, *arguments: str) -> Iterator[str]:
        environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        with subprocess.Popen(
            ["apt-get", "-c", str(self._conf), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=self._inherit,
        ) as running:
            output = []
            for line in running.stdout or ():
                yield line
                if line.startswith(("E:", "W:", "Err:")):
                    output.append("  " + line.strip())
        if running.returncode != 0:
            raise AptFailed("\n".join([f"apt-get {arguments[0]} failed:", *output[-8:]]))


def _progress(what: str, lines: Iterable[str]) -> Iterator[str]:
    """Apt's output, status lines included, as lines for people."""
    last = time.monotonic()
    yield f"{what} …"
    for line in lines:
        if count := re.search(r"(\d+) newly installed", line):
            what = f"Downloading {count[1]} packages"
        elif size := re.match(r"Need to get (?:\S+ \S+/)?(\S+ \S+) of archives", line):
            what += f" ({size[1]})"
        elif (done := re.match(r"dlstatus:\d+:(\d+)", line)) and time.monotonic() - last >= 1:
            yield f"{what} … {done[1]:>3} %"
            last = time.monotonic()
    yield f"{what} … 100 %"


def _sources(mirror: Mirror) -> str:
    sites = [(mirror.archive, f"{RELEASE} {RELEASE}-updates")]
    if mirror.security:
        sites.append((mirror.security, f"{RELEASE}-security"))
    key = f"Signed-By: {mirror.signed_by}\n" if mirror.signed_by else ""
    return "\n".join(f"Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\n{key}" for uri, suites in sites)


def _installed(name: str) -> str:
    return (
        f"Package: {name}\nStatus: install ok installed\nArchitecture: all\nMulti-Arch: foreign\n"
        "Maintainer: none\nVersion: 9999:1\nDescription: left out on purpose\n\n"
    )
