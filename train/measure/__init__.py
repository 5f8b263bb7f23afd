"""Measurements that training never needs: speed, memory, parity, probes."""
