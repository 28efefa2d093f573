"""Public sets of blood cells by their layout: one entry a set.

A set is known by its paths; what else lies there is left out and counted. Where the names of a
set do not say whose cells they are, its subjects are unknown, and that has to be agreed to.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from leukemia.data.options import DataOptions
from leukemia.data.sources import COLUMNS, Listing
from leukemia.data.sources.images import sorted_out
from leukemia.data.trees import Tree

IMAGE = r"[^/]+\.(?:jpe?g|png|tiff?|bmp)"
OTHERWISE = "not named as in this set"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How the cells of a public set lie on disk.

    about: the set, for people. source: where it is described. path: a regular expression of a
    cell's path, with the group `label`, and `subject` where the path says it; there may be other
    folders above. classes: a name for each label that is a code. left_out: why ->
    the paths of images that are no cells of their own.
    """

    about: str
    source: str
    path: str
    classes: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def subjects(self) -> bool:
        """Whether the paths say whose cells they are."""
        return "subject" in re.compile(self.path).groupindex


PRESETS = {
    "acevedo_pbc": Preset(
        about="Acevedo's PBC: 8 kinds of normal peripheral blood cells, 360 x 363 px",
        source="Acevedo et al., Data in Brief 30, 2020",
        path=r"(?P<label>basophil|eosinophil|erythroblast|ig|lymphocyte|monocyte|neutrophil"
        r"|platelet)/[A-Z]{2,5}_\d+\.jpe?g",
        classes={"ig": "immature granulocyte"},
    ),
    "aml_lmu": Preset(
        about="AML-Cytomorphology LMU: 15 kinds of leukocytes of AML patients and others, RGBA",
        source="Matek et al., Nature Machine Intelligence 1, 2019",
        path=r"(?P<label>BAS|EBO|EOS|KSC|LYA|LYT|MMZ|MOB|MON|MYB|MYO|NGB|NGS|PMB|PMO)/"
        r"(?P=label)_\d+\.tiff?",
        classes={
            "BAS": "basophil", "EBO": "erythroblast", "EOS": "eosinophil", "KSC": "smudge cell",
            "LYA": "atypical lymphocyte", "LYT": "typical lymphocyte", "MMZ": "metamyelocyte",
            "MOB": "monoblast", "MON": "monocyte", "MYB": "myelocyte", "MYO": "myeloblast",
            "NGB": "band neutrophil", "NGS": "segmented neutrophil",
            "PMB": "bilobed promyelocyte", "PMO": "promyelocyte",
        },
    ),
    "aml_mll": Preset(
        about="AML-Cytomorphology MLL Helmholtz: 4 genetic kinds of AML and controls, by patient",
        source="Hehr et al., PLOS Digital Health 2, 2023",
        path=r"(?P<label>control|CBFB_MYH11|NPM1|PML_RARA|RUNX1_RUNX1T1)/(?P<subject>[^/]+)/"
        + IMAGE,
    ),
    "raabin_wbc": Preset(
        about="Raabin-WBC: 5 kinds of normal leukocytes; TestB, of other equipment, has two",
        source="Kouzehkanan et al., Scientific Reports 12, 2022",
        path=r"(?:Train|Test-?A)/(?P<label>Basophil|Eosinophil|Lymphocyte|Monocyte|Neutrophil)/"
        + IMAGE,
        left_out={"of TestB, which has two of the five classes": r"Test-?B/[^/]+/" + IMAGE},
    ),
    "lisc": Preset(
        about="LISC: leukocytes of normal blood, with masks by hand",
        source="Rezatofighi et al., Computerized Medical Imaging and Graphics 35, 2011",
        path=r"(?:Main[ _]Dataset/)?(?P<label>Baso|eosi|lymp|mixt|mono|neut)/\d+\.bmp",
        classes={
            "Baso": "basophil", "eosi": "eosinophil", "lymp": "lymphocyte", "mixt": "mixture",
            "mono": "monocyte", "neut": "neutrophil",
        },
        left_out={"masks by hand": r"Ground[ _]Truth[^/]*/.*" + IMAGE},
    ),
    "all_idb2": Preset(
        about="ALL-IDB2: single lymphocytes, blasts and healthy ones",
        source="Donida Labati et al., ICIP 2011",
        path=r"Im\d{3}_(?P<label>[01])\.tif",
        classes={"0": "healthy", "1": "ALL"},
    ),
    "kaggle_all": Preset(
        about="Kaggle's ALL images of 89 patients, who are not in the names",
        source="Aria et al., Acute Lymphoblastic Leukemia (ALL) image dataset, 2021",
        path=r"(?:Original/)?(?P<label>Benign|Early|Pre|Pro)/WBC-[A-Za-z-]+-\d+\.jpe?g",
        left_out={
            "segmented copies of the originals": r"Segmented/(?:Benign|Early|Pre|Pro)/" + IMAGE
        },
    ),
    "elsafty_rbc": Preset(
        about="Elsafty's red blood cells: 9 kinds, 80 px, of 25 smears",
        source="Elsafty et al., Scientific Data 11, 2024",
        path=r"Cropped images/(?P<label>[^/]+)/[^/]+\.png",
    ),
}  # fmt: skip


def recognised(tree: Tree) -> str | None:
    """The set that a tree holds: every image lies as one of its files does, and there are two
    classes or more."""
    for name, preset in PRESETS.items():
        listing = _listing(name, preset, tree)
        if not listing.left_out[OTHERWISE] and listing.frame["label"].nunique() > 1:
            return name
    return None


def read(name: str, tree: Tree, asked: DataOptions) -> Listing | None:
    """The cells of a public set; None where no file lies as in it."""
    listing = _listing(name, PRESETS[name], tree)
    return listing if len(listing.frame) else None


def _listing(name: str, preset: Preset, tree: Tree) -> Listing:
    images, left_out = sorted_out(tree)
    cell = re.compile(rf"(?:.*/)?{preset.path}")
    others = {why: re.compile(rf"(?:.*/)?{path}") for why, path in preset.left_out.items()}
    left_out |= {why: [] for why in (*others, OTHERWISE)}
    rows = []
    for path in images:
        why = next((why for why, other in others.items() if other.fullmatch(path)), None)
        match = None if why else cell.fullmatch(path)
        if match is None:
            left_out[why or OTHERWISE].append(path)
            continue
        said = match.groupdict()
        label = preset.classes.get(said["label"], said["label"])
        rows.append((path, label, said.get("subject") or "", ""))
    return Listing(
        source=name,
        frame=pd.DataFrame(rows, columns=COLUMNS),
        tree=tree,
        subjects=preset.subjects,
        left_out=left_out,
    )
