"""What Python packages each image holds, and whether a vulnerability of one is known.

    python docker/materials.py sbom FOLDER     (make sbom)        a CycloneDX file for each image
    python docker/materials.py audit           (make audit-deps)  needs the network: asks osv.dev

Both read the locks that the images are installed from. What an image takes from Debian is not in
them: `docker buildx build --sbom=true` lists that of an image that is built.
"""

import http.client
import json
import os
import re
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
EVERYTHING = "requirements-dev.lock"  # holds what all the others hold
# The lock and the Python of each image of the Dockerfile.
IMAGES = {
    "server": ("docker/server.lock", "3.13"),
    "backup": ("docker/backup.lock", "3.11"),
    "trainer": ("requirements.lock", "3.13"),
}
PATIENCE_S = 60


@dataclass(frozen=True, kw_only=True)
class Package:
    """One that a lock names, with the SHA-256 of each file that may be installed of it."""

    name: str
    version: str
    hashes: list[str]


def packages(lock: str, **where: str) -> Iterator[Package]:
    """Those of a lock; where markers of a system are given, those that it installs."""
    for line in (ROOT / lock).read_text().replace("\\\n", " ").splitlines():
        requirement = Requirement(line.split(" --hash")[0])
        if not where or not requirement.marker or requirement.marker.evaluate(where):
            (version,) = requirement.specifier
            hashes = re.findall(r"--hash=sha256:(\w+)", line)
            yield Package(name=requirement.name, version=version.version, hashes=hashes)


def sbom(folder: Path) -> str:
    """Write a bill of materials for each image."""
    folder.mkdir(parents=True, exist_ok=True)
    for image, (lock, python) in IMAGES.items():
        linux = {"sys_platform": "linux", "platform_system": "Linux", "python_version": python,
                 "python_full_version": f"{python}.0"}  # fmt: skip
        components = [_component(each) for each in packages(lock, **linux)]
        bill = {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {"component": {"type": "container", "name": f"leukemia-{image}"}},
            "components": components,
        }
        (folder / f"{image}.cdx.json").write_text(json.dumps(bill, indent=1))
    return f"{folder}: {', '.join(f'{image}.cdx.json' for image in IMAGES)}"


def _component(package: Package) -> dict[str, Any]:
    purl = f"pkg:pypi/{package.name}@{package.version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "purl": purl,
        # Of the files for every system: which one is installed, the image's decides.
        "hashes": [{"alg": "SHA-256", "content": each} for each in package.hashes],
    }


def audit() -> str:
    """Ask about every package of the locks; a finding or no answer ends this with its lines."""
    asked = list(packages(EVERYTHING))
    answers = _looked_up(asked)
    found = [
        f"{package.name} {package.version}: {', '.join(each['id'] for each in answer['vulns'])}"
        for package, answer in zip(asked, answers, strict=True)
        if answer.get("vulns")
    ]
    if found:
        lines = "\n".join(found)
        raise SystemExit(f"{lines}\nError: known vulnerabilities; see https://osv.dev/ID")
    return f"no known vulnerability: {len(asked)} packages looked up"


def _looked_up(asked: list[Package]) -> list[dict[str, Any]]:
    """What the database of known vulnerabilities says of each."""
    queries = [
        {"package": {"name": each.name, "ecosystem": "PyPI"}, "version": each.version}
        for each in asked
    ]
    service = os.environ.get("OSV_URL", "https://api.osv.dev")  # or a mirror of it
    request = urllib.request.Request(
        f"{service}/v1/querybatch", json.dumps({"queries": queries}).encode()
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            results = json.load(answer)["results"]
            if len(results) != len(asked):
                raise ValueError(f"{len(results)} answers to {len(asked)} questions")
            return list(results)
    except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException) as error:
        raise SystemExit(
            f"Error: nothing was looked up at {service}, which needs the network ({error})"
        ) from None


if __name__ == "__main__":
    if sys.argv[1:] == ["audit"]:
        print(audit())
    elif len(sys.argv) == 3 and sys.argv[1] == "sbom":
        print(sbom(Path(sys.argv[2])))
    else:
        sys.exit(__doc__)
