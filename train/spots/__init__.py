"""`python -m train spots`: are hand-labelled points of photographs in bad weather given the right class?

No set of real fog, rain, snow and night with labels comes with the training data, so 1379 points of 53 photographs of
DAWN were labelled by hand (`dawn.json`), before any model was looked at. They lie inside things, away from edges: what
they compare is models, and an accuracy on them is higher than one of all pixels.
"""
