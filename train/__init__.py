"""Training, scoring and measuring of MFuser: `python -m train`."""
