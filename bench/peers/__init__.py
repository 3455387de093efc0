"""The peers' servers. They run under the peers' interpreter and import only the network's class from the product."""
