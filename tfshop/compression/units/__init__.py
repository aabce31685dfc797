"""Units of a network: what goes with what, how much each matters, and the network without some of them."""
