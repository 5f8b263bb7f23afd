"""What the label values of every supported set mean, in Cityscapes train ids; 255 = ignored. Facts, with their source.

Names are those of the set. A value that is in no table does not exist in that set.
"""

from __future__ import annotations

from mfuser.cityscapes import CLASSES, IGNORE, LABEL_IDS

_ID = {name: index for index, name in enumerate(CLASSES)}
VOID = IGNORE

# Cityscapes (Cordts et al. 2016), cityscapesScripts helpers/labels.py: labelId -> trainId; the rest of 0..33 is void.
CITYSCAPES_LABEL_IDS: dict[int, int] = {
    **dict.fromkeys(range(34), VOID),
    **{label_id: train_id for train_id, label_id in enumerate(LABEL_IDS)},
}
# The colours of the gtFine_color files, labelId -> RGB (same source).
CITYSCAPES_COLOURS: dict[int, tuple[int, int, int]] = {
    0: (0, 0, 0), 5: (111, 74, 0), 6: (81, 0, 81), 7: (128, 64, 128), 8: (244, 35, 232), 9: (250, 170, 160),
    10: (230, 150, 140), 11: (70, 70, 70), 12: (102, 102, 156), 13: (190, 153, 153), 14: (180, 165, 180),
    15: (150, 100, 100), 16: (150, 120, 90), 17: (153, 153, 153), 19: (250, 170, 30), 20: (220, 220, 0),
    21: (107, 142, 35), 22: (152, 251, 152), 23: (70, 130, 180), 24: (220, 20, 60), 25: (255, 0, 0), 26: (0, 0, 142),
    27: (0, 0, 70), 28: (0, 60, 100), 29: (0, 0, 90), 30: (0, 0, 110), 31: (0, 80, 100), 32: (0, 0, 230),
    33: (119, 11, 32),
}  # fmt: skip
TRAIN_IDS: dict[int, int] = {**{train_id: train_id for train_id in range(len(CLASSES))}, 255: VOID}

# GTA V (Richter et al. 2016, "Playing for Data"): palette indices are Cityscapes labelIds, 34 is the licence plate.
GTA_LABEL_IDS: dict[int, int] = {**CITYSCAPES_LABEL_IDS, 34: VOID}

# SYNTHIA-RAND-CITYSCAPES (Ros et al. 2016), its README: class in the first channel of 16-bit PNGs. Lane markings (22),
# parking slots (13) and road works (14) are left out, as is usual.
SYNTHIA_IDS: dict[int, int] = {
    0: VOID, 1: _ID["sky"], 2: _ID["building"], 3: _ID["road"], 4: _ID["sidewalk"], 5: _ID["fence"],
    6: _ID["vegetation"], 7: _ID["pole"], 8: _ID["car"], 9: _ID["traffic sign"], 10: _ID["person"],
    11: _ID["bicycle"], 12: _ID["motorcycle"], 13: VOID, 14: VOID, 15: _ID["traffic light"], 16: _ID["terrain"],
    17: _ID["rider"], 18: _ID["truck"], 19: _ID["bus"], 20: _ID["train"], 21: _ID["wall"], 22: VOID,
}  # fmt: skip

# Mapillary Vistas (Neuhold et al. 2017), config_v1.2.json: names in the order of their ids, 0..65.
VISTAS_V12_NAMES: tuple[str, ...] = tuple(
    """animal--bird animal--ground-animal construction--barrier--curb construction--barrier--fence
    construction--barrier--guard-rail construction--barrier--other-barrier construction--barrier--wall
    construction--flat--bike-lane construction--flat--crosswalk-plain construction--flat--curb-cut
    construction--flat--parking construction--flat--pedestrian-area construction--flat--rail-track
    construction--flat--road construction--flat--service-lane construction--flat--sidewalk
    construction--structure--bridge construction--structure--building construction--structure--tunnel human--person
    human--rider--bicyclist human--rider--motorcyclist human--rider--other-rider marking--crosswalk-zebra
    marking--general nature--mountain nature--sand nature--sky nature--snow nature--terrain nature--vegetation
    nature--water object--banner object--bench object--bike-rack object--billboard object--catch-basin
    object--cctv-camera object--fire-hydrant object--junction-box object--mailbox object--manhole object--phone-booth
    object--pothole object--street-light object--support--pole object--support--traffic-sign-frame
    object--support--utility-pole object--traffic-light object--traffic-sign--back object--traffic-sign--front
    object--trash-can object--vehicle--bicycle object--vehicle--boat object--vehicle--bus object--vehicle--car
    object--vehicle--caravan object--vehicle--motorcycle object--vehicle--on-rails object--vehicle--other-vehicle
    object--vehicle--trailer object--vehicle--truck object--vehicle--wheeled-slow void--car-mount void--ego-vehicle
    void--unlabeled""".split()
)
# config_v2.0.json: 0..123.
VISTAS_V2_NAMES: tuple[str, ...] = tuple(
    """animal--bird animal--ground-animal construction--barrier--ambiguous construction--barrier--concrete-block
    construction--barrier--curb construction--barrier--fence construction--barrier--guard-rail
    construction--barrier--other-barrier construction--barrier--road-median construction--barrier--road-side
    construction--barrier--separator construction--barrier--temporary construction--barrier--wall
    construction--flat--bike-lane construction--flat--crosswalk-plain construction--flat--curb-cut
    construction--flat--driveway construction--flat--parking construction--flat--parking-aisle
    construction--flat--pedestrian-area construction--flat--rail-track construction--flat--road
    construction--flat--road-shoulder construction--flat--service-lane construction--flat--sidewalk
    construction--flat--traffic-island construction--structure--bridge construction--structure--building
    construction--structure--garage construction--structure--tunnel human--person--individual
    human--person--person-group human--rider--bicyclist human--rider--motorcyclist human--rider--other-rider
    marking--continuous--dashed marking--continuous--solid marking--continuous--zigzag marking--discrete--ambiguous
    marking--discrete--arrow--left marking--discrete--arrow--other marking--discrete--arrow--right
    marking--discrete--arrow--split-left-or-straight marking--discrete--arrow--split-right-or-straight
    marking--discrete--arrow--straight marking--discrete--crosswalk-zebra marking--discrete--give-way-row
    marking--discrete--give-way-single marking--discrete--hatched--chevron marking--discrete--hatched--diagonal
    marking--discrete--other-marking marking--discrete--stop-line marking--discrete--symbol--bicycle
    marking--discrete--symbol--other marking--discrete--text marking-only--continuous--dashed
    marking-only--discrete--crosswalk-zebra marking-only--discrete--other-marking marking-only--discrete--text
    nature--mountain nature--sand nature--sky nature--snow nature--terrain nature--vegetation nature--water
    object--banner object--bench object--bike-rack object--catch-basin object--cctv-camera object--fire-hydrant
    object--junction-box object--mailbox object--manhole object--parking-meter object--phone-booth object--pothole
    object--sign--advertisement object--sign--ambiguous object--sign--back object--sign--information
    object--sign--other object--sign--store object--street-light object--support--pole object--support--pole-group
    object--support--traffic-sign-frame object--support--utility-pole object--traffic-cone
    object--traffic-light--cyclists object--traffic-light--general-horizontal object--traffic-light--general-single
    object--traffic-light--general-upright object--traffic-light--other object--traffic-light--pedestrians
    object--traffic-sign--ambiguous object--traffic-sign--back object--traffic-sign--direction-back
    object--traffic-sign--direction-front object--traffic-sign--front object--traffic-sign--information-parking
    object--traffic-sign--temporary-back object--traffic-sign--temporary-front object--trash-can
    object--vehicle--bicycle object--vehicle--boat object--vehicle--bus object--vehicle--car object--vehicle--caravan
    object--vehicle--motorcycle object--vehicle--on-rails object--vehicle--other-vehicle object--vehicle--trailer
    object--vehicle--truck object--vehicle--vehicle-group object--vehicle--wheeled-slow object--water-valve
    void--car-mount void--dynamic void--ego-vehicle void--ground void--static void--unlabeled""".split()
)
# To Cityscapes, as works on domain generalisation score Vistas v1.2 (curbs and pedestrian areas are sidewalk; markings,
# parking, bike and service lanes are road; street lights and utility poles are pole; frames of signs are signs). Keys
# are names or their beginnings, the longest that fits counts; v2's finer names begin with v1.2's, so that both agree.
VISTAS_CLASSES: dict[str, int] = {
    "construction--flat--road": _ID["road"], "construction--flat--crosswalk-plain": _ID["road"],
    "construction--flat--parking": _ID["road"], "construction--flat--bike-lane": _ID["road"],
    "construction--flat--service-lane": _ID["road"], "construction--flat--driveway": _ID["road"],
    "construction--flat--road-shoulder": _ID["road"], "marking": _ID["road"],
    "construction--flat--sidewalk": _ID["sidewalk"], "construction--flat--curb-cut": _ID["sidewalk"],
    "construction--flat--pedestrian-area": _ID["sidewalk"], "construction--barrier--curb": _ID["sidewalk"],
    "construction--structure--building": _ID["building"], "construction--structure--garage": _ID["building"],
    "construction--barrier--wall": _ID["wall"], "construction--barrier--fence": _ID["fence"],
    "object--support--pole": _ID["pole"], "object--support--utility-pole": _ID["pole"],
    "object--street-light": _ID["pole"], "object--traffic-light": _ID["traffic light"],
    "object--traffic-sign": _ID["traffic sign"], "object--support--traffic-sign-frame": _ID["traffic sign"],
    "nature--vegetation": _ID["vegetation"], "nature--terrain": _ID["terrain"], "nature--sky": _ID["sky"],
    "human--person": _ID["person"], "human--rider": _ID["rider"], "object--vehicle--car": _ID["car"],
    "object--vehicle--truck": _ID["truck"], "object--vehicle--bus": _ID["bus"],
    "object--vehicle--on-rails": _ID["train"], "object--vehicle--motorcycle": _ID["motorcycle"],
    "object--vehicle--bicycle": _ID["bicycle"], "object--vehicle--caravan": VOID,
}  # fmt: skip


def vistas_train_id(name: str) -> int:
    """Train id of a Vistas class, 255 when Cityscapes has none."""
    fitting = [key for key in VISTAS_CLASSES if name == key or name.startswith(key + "-")]
    return VISTAS_CLASSES[max(fitting, key=len)] if fitting else VOID


VISTAS_V12_IDS: dict[int, int] = {i: vistas_train_id(name) for i, name in enumerate(VISTAS_V12_NAMES)}
VISTAS_V2_IDS: dict[int, int] = {i: vistas_train_id(name) for i, name in enumerate(VISTAS_V2_NAMES)}

# CamVid (Brostow et al. 2009), label_colors.txt: the 32 classes' colours. Beside them the 11 classes, merged as SegNet
# merges them, by the names of the common space, `mfuser.cityscapes.COMMON`; "" is void.
CAMVID_COLOURS: dict[str, tuple[tuple[int, int, int], str]] = {
    "Animal": ((64, 128, 64), "person"), "Archway": ((192, 0, 128), "building"),
    "Bicyclist": ((0, 128, 192), "two-wheeler"), "Bridge": ((0, 128, 64), "building"),
    "Building": ((128, 0, 0), "building"), "Car": ((64, 0, 128), "vehicle"),
    "CartLuggagePram": ((64, 0, 192), "person"), "Child": ((192, 128, 64), "person"),
    "Column_Pole": ((192, 192, 128), "pole"), "Fence": ((64, 64, 128), "fence"),
    "LaneMkgsDriv": ((128, 0, 192), "road"), "LaneMkgsNonDriv": ((192, 0, 64), "road"),
    "Misc_Text": ((128, 128, 64), "sign or light"), "MotorcycleScooter": ((192, 0, 192), "two-wheeler"),
    "OtherMoving": ((128, 64, 64), "vehicle"), "ParkingBlock": ((64, 192, 128), "sidewalk"),
    "Pedestrian": ((64, 64, 0), "person"), "Road": ((128, 64, 128), "road"),
    "RoadShoulder": ((128, 128, 192), "sidewalk"), "Sidewalk": ((0, 0, 192), "sidewalk"),
    "SignSymbol": ((192, 128, 128), "sign or light"), "Sky": ((128, 128, 128), "sky"),
    "SUVPickupTruck": ((64, 128, 192), "vehicle"), "TrafficCone": ((0, 0, 64), "pole"),
    "TrafficLight": ((0, 64, 64), "sign or light"), "Train": ((192, 64, 128), "vehicle"),
    "Tree": ((128, 128, 0), "vegetation"), "Truck_Bus": ((192, 128, 192), "vehicle"),
    "Tunnel": ((64, 0, 64), "building"), "VegetationMisc": ((192, 192, 0), "vegetation"),
    "Void": ((0, 0, 0), ""), "Wall": ((64, 192, 0), "building"),
}  # fmt: skip
# The SegNet tutorial's edition: ids 0..10, 11 = void.
CAMVID_TUTORIAL: tuple[str, ...] = (
    "sky", "building", "pole", "road", "sidewalk", "vegetation", "sign or light", "fence", "vehicle", "person",
    "two-wheeler", "",
)  # fmt: skip

# IDD (Varma et al. 2019), AutoNUE's anue_labels.py: name -> (id, level3Id, trainId).
IDD_LABELS: dict[str, tuple[int, int, int]] = {
    "road": (0, 0, _ID["road"]), "parking": (1, 1, VOID), "drivable fallback": (2, 1, VOID),
    "sidewalk": (3, 2, _ID["sidewalk"]), "rail track": (4, 3, VOID), "non-drivable fallback": (5, 3, _ID["terrain"]),
    "person": (6, 4, _ID["person"]), "animal": (7, 4, VOID), "rider": (8, 5, _ID["rider"]),
    "motorcycle": (9, 6, _ID["motorcycle"]), "bicycle": (10, 7, _ID["bicycle"]), "autorickshaw": (11, 8, VOID),
    "car": (12, 9, _ID["car"]), "truck": (13, 10, _ID["truck"]), "bus": (14, 11, _ID["bus"]),
    "caravan": (15, 12, VOID), "trailer": (16, 12, VOID), "train": (17, 12, _ID["train"]),
    "vehicle fallback": (18, 12, VOID), "curb": (19, 13, VOID), "wall": (20, 14, _ID["wall"]),
    "fence": (21, 15, _ID["fence"]), "guard rail": (22, 16, VOID), "billboard": (23, 17, VOID),
    "traffic sign": (24, 18, _ID["traffic sign"]), "traffic light": (25, 19, _ID["traffic light"]),
    "pole": (26, 20, _ID["pole"]), "polegroup": (27, 20, VOID), "obs-str-bar-fallback": (28, 21, VOID),
    "building": (29, 22, _ID["building"]), "bridge": (30, 23, VOID), "tunnel": (31, 23, VOID),
    "vegetation": (32, 24, _ID["vegetation"]), "sky": (33, 25, _ID["sky"]), "fallback background": (34, 25, VOID),
    "unlabeled": (35, 255, VOID), "ego vehicle": (36, 255, VOID), "rectification border": (37, 255, VOID),
    "out of roi": (38, 255, VOID), "license plate": (39, 255, VOID),
}  # fmt: skip
IDD_IDS: dict[int, int] = {own: train_id for own, _, train_id in IDD_LABELS.values()}
# Level 3 joins classes: 3 rail track and fallback ground, 4 person and animal, 12 caravan, trailer, train and others,
# 20 pole and polegroup, 25 sky and fallback background.
IDD_LEVEL3_IDS: dict[int, int] = {
    **dict.fromkeys((1, 8, 12, 13, 16, 17, 21, 23, 255), VOID),
    0: _ID["road"], 2: _ID["sidewalk"], 3: _ID["terrain"], 4: _ID["person"], 5: _ID["rider"], 6: _ID["motorcycle"],
    7: _ID["bicycle"], 9: _ID["car"], 10: _ID["truck"], 11: _ID["bus"], 14: _ID["wall"], 15: _ID["fence"],
    18: _ID["traffic sign"], 19: _ID["traffic light"], 20: _ID["pole"], 22: _ID["building"], 24: _ID["vegetation"],
    25: _ID["sky"],
}  # fmt: skip

# Polygons name their classes; Cityscapes' own names, those of cityscapesScripts, with a group suffix for crowds.
CITYSCAPES_NAMES: tuple[str, ...] = (
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road", "sidewalk",
    "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole", "polegroup",
    "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus",
    "caravan", "trailer", "train", "motorcycle", "bicycle",
)  # fmt: skip
