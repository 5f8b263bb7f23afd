"""What frozen encoders know: `python -m train probe`."""
