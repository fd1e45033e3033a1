"""requirements-dev.txt, which `make setup` installs, is what `make lock` makes of pyproject.toml."""

import pathlib
import re
import tomllib

from packaging import requirements, utils

ROOT = pathlib.Path(__file__).parents[2]
LOCK = (ROOT / "requirements-dev.txt").read_text()


def test_pins_what_pyproject_asks_for():
    """Each dependency at a version within its range."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [requirements.Requirement(one) for one in project["project"]["dependencies"]]
    asked += [
        requirements.Requirement(one) for some in project["project"]["optional-dependencies"].values() for one in some
    ]
    asked += [requirements.Requirement(one) for one in project["dependency-groups"]["dev"]]
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, re.MULTILINE))
    found = {one.name: pinned.get(utils.canonicalize_name(one.name)) for one in asked}
    extras = {f"{one.name}-{extra}" for one in asked if one.name == "psycopg" for extra in one.extras}
    assert extras == {"psycopg-binary", "psycopg-pool"} & pinned.keys()
    assert [one for one in asked if not found[one.name] or not one.specifier.contains(found[one.name])] == []


def test_names_no_place_to_load_from():
    """Where packages come from is whoever installs' to say."""
    assert re.findall(r"://|--index-url|--find-links| @ ", LOCK) == []
    assert len(re.findall(r"^\S+==", LOCK, re.MULTILINE)) == len(
        re.findall(r"^\S+==\S+ .*\\\n +--hash", LOCK, re.MULTILINE)
    )
