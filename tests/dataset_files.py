"""DvsGesture and SL-Animals-DVS as they are published, with recordings of one's own in them.

Every user has the same recording of all gestures: to walk a road with, and not to measure a model by.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.recording_files import Event, aedat2, aedat3

Gesture = tuple[int, Sequence[Event]]  # class from 1, and its events in order of time

#: Of each part a user whom the data sets have in it.
DVS_USERS = {"train": "user01_natural", "validation": "user21_led", "test": "user24_lab"}
SL_USERS = {"train": "user01_indoor", "validation": "user12_indoor", "test": "user14_indoor"}
_LISTS = {"trials_to_train.txt": ("train", "validation"), "trials_to_test.txt": ("test",)}
_PAUSE_US = 500_000  # before and between gestures
_PACKET = 20_000


def dvsgesture(root: Path, gestures: Sequence[Gesture]) -> Path:
    """Write AEDAT 3.1 recordings, their tables and the two lists; the folder that the archive unpacks to."""
    folder = root / "DvsGesture"
    folder.mkdir(parents=True, exist_ok=True)
    events, spans = _one_after_another(gestures)
    rows = [f"{label},{events[first][0]},{events[end - 1][0]}\n" for label, first, end in spans]
    table = "class,startTime_usec,endTime_usec\n" + "".join(rows)
    first = folder / f"{DVS_USERS['train']}.aedat"
    aedat3(first, events, _PACKET)
    for user in DVS_USERS.values():
        recording = folder / f"{user}.aedat"
        if recording != first:
            shutil.copyfile(first, recording)
        (folder / f"{user}_labels.csv").write_text(table)
    for name, parts in _LISTS.items():
        (folder / name).write_text("".join(f"{DVS_USERS[part]}.aedat\n" for part in parts))
    return folder


def slanimals(root: Path, signs: Sequence[Gesture]) -> Path:
    """Write AEDAT 2.0 recordings and their tables of tags; the folder that the archives are unpacked in."""
    events, spans = _one_after_another(signs)
    table = "class,startTime_ev,endTime_ev\n" + "".join(f"{label},{first},{end}\n" for label, first, end in spans)
    for folder in ("allusers_aedat", "tags_updated_19_08_2020"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for user in SL_USERS.values():
        aedat2(root / "allusers_aedat" / f"{user}.aedat", events)
        (root / "tags_updated_19_08_2020" / f"{user}.csv").write_text(table)
    return root


def _one_after_another(gestures: Sequence[Gesture]) -> tuple[list[Event], list[tuple[int, int, int]]]:
    """All events, with pauses between gestures; class of each, its first event and the one after its last."""
    events: list[Event] = []
    spans, now = [], _PAUSE_US
    for label, own in gestures:
        shift = now - own[0][0]
        spans.append((label, len(events), len(events) + len(own)))
        events += [(t + shift, x, y, p) for t, x, y, p in own]
        now = events[-1][0] + _PAUSE_US
    return events, spans
