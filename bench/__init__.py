"""How fast the service is, measured with everything on one machine: `make bench`."""
