"""Libraries that are shipped as their makers published them."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files

VENDOR = files("sa_perf").joinpath("web", "static", "vendor")
LIBRARIES = json.loads(VENDOR.joinpath("manifest.json").read_text(encoding="utf-8"))


def test_every_file_has_the_hash_of_the_manifest() -> None:
    for library in LIBRARIES:
        for one in library["files"]:
            digest = hashlib.sha384(VENDOR.joinpath(one["file"]).read_bytes()).digest()
            assert one["sha384"] == f"sha384-{base64.b64encode(digest).decode()}"


def test_every_file_is_in_the_manifest() -> None:
    listed = {one["file"] for library in LIBRARIES for one in library["files"]}
    assert {path.name for path in VENDOR.iterdir()} == listed | {"manifest.json"}


def test_every_library_has_name_version_source_and_licence() -> None:
    for library in LIBRARIES:
        assert library["source"].startswith("https://registry.npmjs.org/")
        assert library["version"] in library["source"]
        assert library["source_integrity"].startswith("sha512-")
        assert any("LICENSE" in one["file"] for one in library["files"])


def test_a_vendored_script_can_stand_in_a_page() -> None:
    script = VENDOR.joinpath("chart.umd.min.js").read_text(encoding="utf-8")
    assert "Chart.js v4.6.1" in script
    assert "</script" not in script.lower()
    assert "<!--" not in script
