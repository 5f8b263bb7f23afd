"""Street scenes made from a seed: described in plain Python, rendered by Blender, labelled exactly.

Lengths are metres. In the world x points right, y ahead and z up; the camera's car stands at the origin. A thing's own
frame has its middle on the ground at the origin and its front towards +y.
"""

ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, LIGHT, SIGN, VEGETATION, TERRAIN = range(10)
SKY, PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = range(10, 19)
CONDITIONS = ("clear", "fog", "rain", "snow", "night")
