"""The formats of recordings: one table of what is read and written, for the documentation and those who ask."""

from __future__ import annotations

from typing import NamedTuple


class Format(NamedTuple):
    """endings: of file names. reads: what of the format. writes: empty where nothing. extra: to be installed with it.

    says: how Recording.format begins. size: where the sensor's size is from. outside: what becomes of events outside it
    unless said otherwise, "refused" or what is dropped and counted. left_out: what else is, by name. cut: where a file
    that ends too early shows it.
    """

    name: str
    endings: tuple[str, ...]
    reads: str
    writes: str
    extra: str
    says: str
    size: str
    outside: str
    left_out: str
    cut: str


_REFUSED = "refused"

FORMATS = (
    Format(
        name="Prophesee RAW",
        endings=(".raw",),
        reads="EVT2, EVT2.1 (both orders of halves), EVT3",
        writes="EVT2, EVT3",
        extra="",
        says="RAW",
        size="the header: `format`, `geometry` or the system's number",
        outside="EVT3: dropped; else refused",
        left_out="`unknown` words (padding, reserved types), `triggers`, `other` of the vendor, `untimed` before the "
        "first time word, `clipped` bits over the right edge",
        cut="in a word",
    ),
    Format(
        name="Prophesee DAT",
        endings=(".dat",),
        reads="versions 1 (ATIS) and 2",
        writes="version 2",
        extra="",
        says="DAT",
        size="the header; version 1: 304x240",
        outside=_REFUSED,
        left_out="",
        cut="in an event",
    ),
    Format(
        name="HDF5",
        endings=(".hdf5", ".h5"),
        reads="Prophesee's, its ECF codec too; those of eTraM, DSEC, RVT, MVSEC, M3ED, v2e, event_utils; other groups "
        "and tables of such columns",
        writes="Prophesee's, with gzip",
        extra="recordings",
        says="HDF5",
        size="attributes or arrays `geometry`, `width` and `height`",
        outside=_REFUSED,
        left_out="",
        cut="anywhere",
    ),
    Format(
        name="AEDAT 2.0",
        endings=(".aedat",),
        reads="DVS128, DAVIS, DVS640, DVXplorer",
        writes="",
        extra="",
        says="AEDAT 2.0",
        size="the chip's name; without it, it is given and tells the chip",
        outside=_REFUSED,
        left_out="`other` than polarity events",
        cut="in an event",
    ),
    Format(
        name="AEDAT 3.1",
        endings=(".aedat",),
        reads="the polarity events of the first source",
        writes="",
        extra="",
        says="AEDAT 3.1",
        size="the camera's name",
        outside=_REFUSED,
        left_out="`invalid` as marked; other types (`special`, `frame`, …) and sources by their names",
        cut="in a packet",
    ),
    Format(
        name="AEDAT 4",
        endings=(".aedat4", ".aedat"),
        reads="the one stream of events",
        writes="`.aedat4`, with LZ4",
        extra="recordings",
        says="AEDAT 4",
        size="the header",
        outside=_REFUSED,
        left_out="",
        cut="in a packet, or before the index",
    ),
    Format(
        name="Event Stream",
        endings=(".es",),
        reads="version 2: DVS, ATIS, color",
        writes="",
        extra="",
        says="Event Stream",
        size="the header",
        outside=_REFUSED,
        left_out="`exposures` of ATIS",
        cut="in an event",
    ),
    Format(
        name="N-MNIST",
        endings=(".bin",),
        reads="and N-Caltech101 and others in its records",
        writes="",
        extra="",
        says="N-MNIST",
        size="34x34, or as given up to 256x240",
        outside=_REFUSED,
        left_out="",
        cut="in an event",
    ),
    Format(
        name="NumPy",
        endings=(".npz", ".npy"),
        reads="an array a field, structured ones, tables with a row an event",
        writes="`.npz`",
        extra="",
        says="NP",
        size="`.npz`: `width` and `height` beside the events",
        outside=_REFUSED,
        left_out="",
        cut="anywhere",
    ),
    Format(
        name="text",
        endings=(".txt", ".csv", ".tsv"),
        reads="`t x y p` and the like, also faery's and Metavision's",
        writes="`.csv`",
        extra="",
        says="",
        size="`%geometry:WIDTH,HEIGHT`, names `x@320,y@240`, or a first line `240 180`",
        outside=_REFUSED,
        left_out="",
        cut="in a line that lacks columns",
    ),
    Format(
        name="ROS bag",
        endings=(".bag", ".mcap", ".db3"),
        reads="`dvs_msgs`, `prophesee_event_msgs`, `event_camera_msgs`; also the folder of a bag",
        writes="",
        extra="ros",
        says="ROS",
        size="the messages",
        outside="packets of EVT3: dropped; else refused",
        left_out="as RAW; `invalid`; `lost packets`",
        cut="anywhere",
    ),
)
