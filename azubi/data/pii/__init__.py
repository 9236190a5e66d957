"""Personal data in examples: found, then reported, masked, pseudonymised or refused."""
