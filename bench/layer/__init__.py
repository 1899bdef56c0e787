"""`make bench-layer`: this layer beside the ones Django has, in one run on one machine."""
