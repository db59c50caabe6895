"""HTTP service: encoding, search and documents over a network, and a page to look at them."""
