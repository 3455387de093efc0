"""The peers' servers. They run under the peers' interpreter and take from the product nothing but the network's class."""
