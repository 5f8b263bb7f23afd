"""The kernels of the selective scan, one file each; all share the signature of `reference.scan`."""
