"""Classes of a data set made two: several under one name, some left out, names for people.

Two are the limit of training and evaluation, which have one score a cell; it is checked here alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from leukemia.cells import Classes
from leukemia.data.names import shortened, some_of
from leukemia.data.options import AUTO, REST, DataOptions
from leukemia.data.sources import Listing
from leukemia.errors import UserError

OTHER_CLASS = "of classes that are not asked for"
JOIN = "+"  # between the names of classes that become one


def grouped(listing: Listing, asked: DataOptions, data: Path) -> Listing:
    """The listing with the classes of each group under one name, the rest left out.

    Raises:
        UserError: a class is named that is not there, or stands in both groups.
    """
    single = "," not in asked.positive or asked.positive in set(listing.frame["label"])
    if asked.negative == AUTO and single:
        return listing
    present = sorted(listing.frame["label"].unique())
    if asked.positive == AUTO and not listing.positive:
        raise UserError(f"{data}: negative is given and positive is not; name both")
    chosen = listing.positive if asked.positive == AUTO else asked.positive
    positive = _named(chosen, present, "positive", data)
    if asked.negative in (REST, AUTO) and asked.negative not in present:
        negative = [name for name in present if name not in positive]
    else:
        negative = _named(asked.negative, present, "negative", data)
    if both := sorted(set(positive) & set(negative)):
        raise UserError(f"{data}: class {shortened(both[0])} is positive and negative; choose one")
    if not negative:
        raise UserError(f"{data}: every class is positive ({some_of(present)}); name a negative")
    of_class = dict.fromkeys(positive, JOIN.join(positive))
    of_class |= dict.fromkeys(negative, JOIN.join(negative))
    label = listing.frame["label"].map(of_class)
    left = listing.frame["path"][label.isna()].tolist()
    frame = listing.frame.assign(label=label)[label.notna()].reset_index(drop=True)
    others = sorted(set(present) - set(of_class))
    why = f"{OTHER_CLASS} ({some_of(others)})"
    return replace(listing, frame=frame, left_out={**listing.left_out, why: left})


def classes(
    labels: pd.Series, asked: DataOptions, usual: str, data: Path
) -> tuple[Classes, dict[str, str]]:
    """The two classes, the positive one last, and class name -> label.

    usual: the class that is positive unless another is asked for, "" for none.

    Raises:
        UserError: there are not two, nobody says which is positive, or two have one name.
    """
    present = sorted(labels.unique())
    if len(present) != 2:
        raise UserError(
            f"{data}: {len(present)} class(es) ({some_of(present)}) where two are needed: "
            + (
                "an empty class cannot be balanced; mend the labels"
                if len(present) < 2
                else "name groups, as positive=A,B and negative=C or negative=rest"
            )
        )
    positive = _positive(present, asked, usual, data)
    (negative,) = (name for name in present if name != positive)
    shown = _shown(asked.class_names, present, data)
    keys = {shown.get(key, key): key for key in (negative, positive)}
    if len(keys) < 2:
        raise UserError(f"{data}: class_names give both classes one name; give each its own")
    return Classes(names=tuple(keys), positive=1), keys


def _positive(present: list[str], asked: DataOptions, usual: str, data: Path) -> str:
    positive = usual if asked.positive == AUTO and usual else asked.positive
    if positive not in present:  # a group is known by its members
        positive = next((p for p in present if set(p.split(JOIN)) == _members(positive)), positive)
    if positive not in present:
        came = (
            "no positive class is named" if positive == AUTO else f"there is no class '{positive}'"
        )
        raise UserError(f"{data}: {came}; give positive={present[0]} or positive={present[1]}")
    return positive


def _members(text: str) -> set[str]:
    return {part.strip() for part in text.split(",") if part.strip()}


def _named(text: str, present: list[str], option: str, data: Path) -> list[str]:
    """The classes that an option names, in the order of their names."""
    if text in present:
        return [text]
    members = _members(text)
    if unknown := sorted(members - set(present)):
        raise UserError(
            f"{data}: {option}={shortened(text)}: there is no class '{shortened(unknown[0])}' "
            f"among {some_of(present, 20)}"
        )
    return sorted(members)


def _shown(text: str, present: list[str], data: Path) -> Mapping[str, str]:
    """Label -> name for people, from `all=ALL, leukemic blast;hem=HEM, healthy`."""
    shown = {}
    for part in filter(None, (each.strip() for each in text.split(";"))):
        label, equals, name = (each.strip() for each in part.partition("="))
        if not (equals and name) or label not in present:
            raise UserError(
                f"{data}: class_names '{shortened(part)}': expected CLASS=NAME with a class among "
                f"{some_of(present)}, with ';' between them"
            )
        shown[label] = name
    return shown
