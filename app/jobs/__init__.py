"""Jobs of this server: what trains, how it is described and steered."""
