"""Name each image of Dockerfile and compose.yaml by its digest, which a registry can tell.

    python docker/pin_images.py            (make pin-images)

For whoever makes a release: it needs docker and the network. A tag may be moved to other content;
a digest is the content. Later tags of the same image are pinned anew by running it again.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

FILES = [Path(__file__).with_name(name) for name in ("Dockerfile", "compose.yaml")]
IMAGE = re.compile(
    r"(?P<before>^(?:FROM|\s+image:) )(?P<name>[\w./-]+:[\w.-]+)(?:@sha256:[0-9a-f]{64})?", re.M
)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def pinned(text: str, digest_of: Callable[[str], str]) -> str:
    """A file with each image's digest after its name and tag, in place of one that is there."""
    return IMAGE.sub(
        lambda found: f"{found['before']}{found['name']}@{digest_of(found['name'])}", text
    )


def asked(name: str) -> str:
    """What the registry says that an image's tag stands for now."""
    words = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", name]
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except FileNotFoundError:
        raise SystemExit("Error: docker is not here, which asks the registry: install it") from None
    digest = done.stdout.strip()
    if done.returncode or not DIGEST.fullmatch(digest):
        why = (done.stderr.strip().splitlines() or [digest or "nothing was said"])[-1]
        raise SystemExit(f"Error: no digest of {name} ({why}); this needs the network")
    return digest


def pin() -> None:
    """Rewrite both files, or neither."""
    new = {file: pinned(file.read_text(), asked) for file in FILES}
    for file, text in new.items():
        file.write_text(text)
        for found in IMAGE.finditer(text):
            print(f"{file.name}: {found[0].split()[-1]}")


if __name__ == "__main__":
    if len(sys.argv) != 1:
        sys.exit(__doc__)
    pin()
