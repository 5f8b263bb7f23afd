"""The texts that encoders and words are taught with, and measured by."""
