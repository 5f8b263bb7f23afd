"""How the two encoders meet: MVFuser, MTEnhancer, the selective scan, and the paper's alternatives."""
