"""The selective scan, one file a kernel; all share the signature of `reference.scan`."""
