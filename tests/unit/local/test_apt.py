"""The host's Debian mirror is read from both of apt's formats; what is not Debian is no mirror."""

import pytest

from voltd.local import apt

DEB822 = """# made by an installer
Types: deb deb-src
# a snapshot of it
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""

ONE_LINE = """
# deb http://old.example/debian bookworm main
deb-src http://source.example/debian bookworm main
deb [arch=amd64 signed-by=/etc/keys/debian.gpg] http://mirror.example/debian bookworm main contrib
deb http://mirror.example/debian bookworm-updates main
deb http://security.example/debian-security bookworm-security main
"""


@pytest.fixture
def etc(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_deb822_format(etc):
    (etc / "sources.list.d/debian.sources").write_text(DEB822)
    assert apt.host_mirror(etc) == apt.Mirror(
        "http://mirror.example/debian",
        "http://mirror.example/debian-security",
        "/usr/share/keyrings/debian-archive-keyring.gpg",
    )


def test_one_line_format(etc):
    (etc / "sources.list").write_text(ONE_LINE)
    assert apt.host_mirror(etc) == apt.Mirror(
        "http://mirror.example/debian", "http://security.example/debian-security", "/etc/keys/debian.gpg"
    )


def test_other_vendors_sources_are_passed_over(etc):
    (etc / "sources.list.d/a-vendor.list").write_text("deb https://packages.example/apt stable-vendor main\n")
    (etc / "sources.list.d/b.sources").write_text("Types: deb\nURIs: https://vendor.example\nSuites: nodistro\n")
    (etc / "sources.list").write_text(ONE_LINE)
    mirror = apt.host_mirror(etc)
    assert mirror is not None
    assert mirror.archive == "http://mirror.example/debian"


def test_disabled_source_is_passed_over(etc):
    (etc / "sources.list.d/debian.sources").write_text(DEB822.replace("Types:", "Enabled: no\nTypes:"))
    assert apt.host_mirror(etc) is None


def test_ubuntu_is_no_debian_mirror(etc):
    (etc / "sources.list").write_text("deb http://archive.example/ubuntu noble main universe\n")
    assert apt.host_mirror(etc) is None


def test_no_apt_at_all(tmp_path):
    assert apt.host_mirror(tmp_path / "nowhere") is None


def test_signatures_stay_checked(tmp_path):
    """Each of our sources names the host's keyring, and nothing tells apt to trust more."""
    apt.Apt(tmp_path, apt.Mirror("http://m.example/debian", "http://m.example/security", "/etc/keys/debian.gpg"))
    written = (tmp_path / "sources.sources").read_text()
    assert written.count("Signed-By: /etc/keys/debian.gpg") == written.count("URIs:") == 2
    assert "trixie-security" in written
    for text in (written, (tmp_path / "apt.conf").read_text()):
        assert "trusted" not in text.lower()
        assert "unauthenticated" not in text.lower()
        assert "insecure" not in text.lower()
