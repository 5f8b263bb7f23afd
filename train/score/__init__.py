"""A model on labelled sets: scores, calibration, the model card."""
