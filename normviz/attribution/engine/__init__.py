"""Engine: the forward and backward passes of a network, and the values that attribution methods need from them."""
