"""What stands in the files of the repository, and what does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from unit.house.sources import FLOORS, ROOT, files, named

# Written in parts, so that this file is not what it looks for.
_HOSTS = ("py" + "pi.org", "python" + "hosted.org", "npm" + "js.", "yarn" + "pkg.com", "ana" + "conda.org")
_PLACES = ("/ro" + "ot/", "/ho" + "me/", "/Us" + "ers/", "/wo" + "rk/", "C:" + "\\Users")

MACHINE = re.compile("|".join(re.escape(part) for part in (*_HOSTS, *_PLACES)))


def test_no_file_names_a_registry_or_a_place_on_a_machine() -> None:
    """An index to install from is the business of who installs; a path is of one machine."""
    found = {named(path): sorted(set(MACHINE.findall(text))) for path in files() if (text := _text(path))}
    assert len(found) > 200
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_what_is_looked_for_would_be_found() -> None:
    for part in (*_HOSTS, *_PLACES):
        assert MACHINE.search(f"see {part}x")


def test_every_folder_of_modules_is_a_package() -> None:
    """A folder without `__init__.py` is left out of the wheel unseen."""
    folders = {path.parent for path in files(*FLOORS) if path.suffix == ".py"}
    assert sorted(named(folder) for folder in folders if not (folder / "__init__.py").exists()) == []


@pytest.mark.parametrize(
    "package", ["agentpay", "policies/agentpay_policies", "tools/agentpay_tools", "servers/agentpay_servers"]
)
def test_every_import_package_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        return ""
