"""The numbers of the thesis, with its section, and those of others on the same cells.

Source: U. Gungor, Leukemia Cell Classification with using DC-GAN versus 3 Traditional
Techniques, MSc research project, National College of Ireland, 2023. Figures are text where
their printed decimals matter. `validators` says which of them can be true.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from leukemia.contract import Schedule, Stage
from leukemia.evaluation.reported import Reported

THESIS = (
    "U. Gungor, Leukemia Cell Classification with using DC-GAN versus 3 Traditional Techniques, "
    "MSc research project, National College of Ireland, 2023"
)

# Cells of C-NMC 2019, section 4.2.1, as (ALL, HEM).
TRAIN_CELLS = (7_272, 3_389)
PRELIMINARY_CELLS = (1_219, 648)
PRELIMINARY_SUBJECTS = 28  # of the data set, not of the thesis; none of them trains
LABELLED = (TRAIN_CELLS[0] + PRELIMINARY_CELLS[0], TRAIN_CELLS[1] + PRELIMINARY_CELLS[1])

# The same training set as later sections give it.
SPLIT_TRAIN, SPLIT_TEST = 9_572, 1_867  # 4.2.2: "20 %" of the training cells are the test
TEST_SET = "C-NMC's preliminary set, called test"  # what SPLIT_TEST is, see `disputed`
CLASSES_DCGAN = (7_272, 2_300)  # 4.4.1
CLASSES_TEST = (1_219, 648)  # 4.4.1: "in the test set"
CLASSES_WEIGHTED = (7_657, 1_915)  # 4.6
MADE_DCGAN = 5_028  # HEM images, 4.4.1: "the two classes were able to be balanced"
PER_CLASS_ADASYN = 11_470  # 4.5: of each class after balancing
WEIGHTS = (2.0, 7.0)  # 4.6: loss weights of ALL and HEM

IMAGE_SIZE = 210  # 4.2.2: pixels a side that the classifier sees
GAN_SIZE = 128  # 4.4: pixels a side of a made cell
FULL_SIZE, FILE_SIZE = 410, 450  # pixels a side before cropping: 4.2.2, and the files' own
GAN_EPOCHS = (10_000, 1_000)  # 4.4 and 4.4.2
GAN_EXPERIMENTS = 3  # 4.4.2, with the same parameters
GAN_HOURS, OTHERS_HOURS = 8.5, 3.0  # 4.8: on a GPU for DC-GAN, on a TPU for each of the others

# What 2 x 8,176 is made of. The shares are not in the text: .8 is "80 % train set" (4.2.2), .7
# is the second cut that makes it exact.
POOL = CLASSES_DCGAN[0] + CLASSES_DCGAN[1] + MADE_DCGAN
SHARES = (0.8, 0.7)


@dataclass(frozen=True, kw_only=True)
class Technique:
    """A technique of the thesis: how it was trained, what is reported, what was validated.

    place: its rank in the thesis' own verdict, 4.8 (None: not ranked). val_accuracy: as
    printed, or None. reported: figures and matrix, both over training images. rises_after: the
    epoch, counted over both stages, after which validation loss rises by the text; None: not
    told. told: what the text says of it, and where.
    """

    name: str
    section: str
    balancing: str
    schedule: Schedule
    reported: Reported
    val_accuracy: str | None = None
    place: int | None = None
    rises_after: int | None = None
    told: str = ""


# Sensitivity, specificity and accuracy .995 are those of Figure 35 and section 5; 4.4.2 has .99.
# The ceilings are the cells of each class that the section puts into its training set: for
# ADASYN as many HEM as it makes, for weights no more than there are.
TECHNIQUES = (
    Technique(
        name="baseline",
        section="4.3",
        balancing="none",
        schedule=Schedule(
            transfer=Stage(learning_rate=1e-3, epochs=5),
            fine_tune=Stage(learning_rate=1e-4, epochs=10),
        ),
        reported=Reported(name="baseline"),
        rises_after=4,
        told='"validation loss started to increase after the 4th epoch" (4.3.2, Figure 10)',
    ),
    Technique(
        name="dcgan",
        section="4.4",
        balancing="5,028 HEM images of 128 px made by a DC-GAN",
        schedule=Schedule(
            transfer=Stage(learning_rate=1e-4, epochs=10),
            fine_tune=Stage(learning_rate=1e-4, epochs=20),
        ),
        reported=Reported(
            name="dcgan",
            tp=8142,
            fn=34,
            fp=7,
            tn=8169,
            sensitivity="0.995",
            specificity="0.995",
            precision="0.99",
            accuracy="0.995",
            at_most_positive=CLASSES_DCGAN[0],
            at_most_negative=CLASSES_DCGAN[1] + MADE_DCGAN,
        ),
        val_accuracy="0.91",
        place=1,
        rises_after=20,
        told='"after the 20th epoch the model started to overfit" (4.4.2, Figure 22)',
    ),
    Technique(
        name="adasyn",
        section="4.5",
        balancing="ADASYN, of the rarer class only",
        schedule=Schedule(
            transfer=Stage(learning_rate=1e-6, epochs=3),
            fine_tune=Stage(learning_rate=1e-4, epochs=9),
        ),
        reported=Reported(
            name="adasyn",
            tp=10093,
            fn=1377,
            fp=124,
            tn=11346,
            sensitivity="0.89",
            specificity="0.84",
            precision="0.96",
            accuracy="0.96",
            at_most_positive=LABELLED[0],
        ),
        val_accuracy="0.94",
        place=2,
        rises_after=4,
        told='"validation loss started to increase at the 5th epoch" (4.5.2, which names Figure '
        "27, the plot of accuracy; that of loss is Figure 26)",
    ),
    Technique(
        name="weighted",
        section="4.6",
        balancing="loss weights 2 (ALL) and 7 (HEM), named weighted random sampling",
        schedule=Schedule(
            transfer=Stage(learning_rate=1e-3, epochs=5),
            fine_tune=Stage(learning_rate=1e-5, epochs=10),
        ),
        reported=Reported(
            name="weighted",
            tp=10093,
            fn=1377,
            fp=124,
            tn=11346,
            sensitivity="0.89",
            specificity="0.84",
            precision="1.0",
            accuracy="0.99",
            at_most_positive=LABELLED[0],
            at_most_negative=LABELLED[1],
        ),
        val_accuracy="0.95",
        place=3,
        rises_after=4,
        told='"even at the 3rd epoch the model achieves optimal fit", "validation loss increased '
        'after the 4th epoch" (4.6.2, Figure 30)',
    ),
    Technique(
        name="augmentation",
        section="4.7",
        balancing="turned, shifted, sheared, zoomed and mirrored copies of the rarer class",
        schedule=Schedule(
            transfer=Stage(learning_rate=1e-6, epochs=5),
            fine_tune=Stage(learning_rate=1e-4, epochs=8),
        ),
        reported=Reported(name="augmentation", precision="1.0", accuracy="100 %"),
        val_accuracy=None,
        place=4,
        told='"model is overfitting during training" (4.7.2, Figure 33)',
    ),
)

OWN = "the thesis (DC-GAN)"  # its own row in Figures 35 and 36
Rows = Sequence[tuple[int, Reported]]  # of a table of results: year and what is reported
# Figure 35, section 4.9: sensitivity, specificity, accuracy in per cent.
FIGURE_35 = tuple(
    (year, Reported(name=name, sensitivity=sens, specificity=spec, accuracy=acc))
    for year, name, sens, spec, acc in (
        (2013, "Mohapatra", "94.9 %", "95.0 %", "94.7 %"),
        (2014, "Singhal", "80.4 %", "95.1 %", "89.7 %"),
        (2018, "Shafique", "96.8 %", "99.3 %", "96.1 %"),
        (2017, "Yu", "88.5 %", "77.8 %", "98.1 %"),
        (2019, "Pansombut", "81.5 %", None, "81.7 %"),
        (2019, "Hosseinzadeh", "95.2 %", "98.6 %", "96.2 %"),
        (2021, "Mondal", "99.4 %", "96.7 %", "98.5 %"),
        (2023, OWN, "99.5 %", "99.5 %", "99.5 %"),
    )
)
# What section 2.9 (Figure 1) gives for Ghaderzadeh et al. 2022.
GHADERZADEH = Reported(
    name="Ghaderzadeh et al. 2022 (2.9)",
    sensitivity="99.4 %",
    specificity="96.7 %",
    accuracy="98.5 %",
)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A row of Figure 36, section 4.9; batch None where the thesis has a dash."""

    year: int
    name: str
    optimizer: str
    learning_rate: float
    loss: str
    batch: int | None


FIGURE_36 = (
    Setup(
        year=2019, name="Xiao", optimizer="SGD", learning_rate=3e-3, loss="cross-entropy", batch=32
    ),
    Setup(
        year=2019, name="Xie", optimizer="Adam", learning_rate=1e-4, loss="cross-entropy", batch=64
    ),
    Setup(
        year=2019,
        name="Prellberg",
        optimizer="Adam",
        learning_rate=1.0,
        loss="weighted cross-entropy",
        batch=16,
    ),
    Setup(
        year=2019,
        name="Marzahl",
        optimizer="Adam",
        learning_rate=1e-2,
        loss="cross-entropy + L1",
        batch=None,
    ),
    Setup(
        year=2019,
        name="Verma & Singh",
        optimizer="Adam",
        learning_rate=1e-3,
        loss="weighted cross-entropy",
        batch=None,
    ),
    Setup(
        year=2019, name="Ding", optimizer="Adam", learning_rate=1e-4, loss="cross-entropy", batch=48
    ),
    Setup(
        year=2019,
        name="Kulhalli",
        optimizer="Adam",
        learning_rate=7e-5,
        loss="cross-entropy + JSD",
        batch=None,
    ),
    Setup(
        year=2019,
        name="Liu",
        optimizer="RMSprop",
        learning_rate=1e-3,
        loss="weighted cross-entropy",
        batch=None,
    ),
    Setup(
        year=2019,
        name="Khan & Choo",
        optimizer="Adam",
        learning_rate=1e-4,
        loss="cross-entropy",
        batch=64,
    ),
    Setup(
        year=2021,
        name="Mondal",
        optimizer="Adamax",
        learning_rate=2e-4,
        loss="cross-entropy",
        batch=8,
    ),
    Setup(
        year=2023,
        name=OWN,
        optimizer="Adam",
        learning_rate=1e-6,
        loss="binary cross-entropy",
        batch=32,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Published:
    """What others reach on C-NMC 2019 with no subject in two splits.

    preliminary: measures on the preliminary set (1,867 cells of 28 unseen subjects), final: on
    the final set; name -> as printed.
    """

    work: str
    preliminary: dict[str, str]
    final: dict[str, str]
    note: str = ""


PUBLISHED = (
    Published(
        work="Pan et al. 2019, neighbourhood correction, rank 1 of the challenge",
        preliminary={"weighted F1": ".9250", "balanced accuracy": ".9173"},
        final={"weighted F1": ".9104"},
        note="transductive: looks at the other test cells",
    ),
    Published(work="Prellberg & Kramer 2019", preliminary={}, final={"weighted F1": ".8891"}),
    Published(
        work="Mondal et al. 2021, ensemble (arXiv 2105.03995)",
        preliminary={"weighted F1": ".886", "balanced accuracy": ".862", "AUROC": ".941"},
        final={},
    ),
    Published(work="Oliveira & Dantas 2021", preliminary={}, final={"F1": ".9260"}),
    Published(
        work="Albzour 2026, EfficientNet-B1 (arXiv 2606.24944)",
        preliminary={"AUROC": ".913", "sensitivity": ".87", "specificity": ".80", "ECE": ".024"},
        final={},
    ),
)
# What others found that bears on the thesis' verdict.
FOUND = (
    "Depto et al. 2023 found methods in the loss ahead of GANs and of changes to the input on "
    "C-NMC 2019: the opposite of the thesis.",
    "Albzour 2026 measured about .04 of AUROC from a random split with frozen features; for a "
    "fine-tuned ResNet-50 nothing is published.",
)
