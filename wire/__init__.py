"""The only package that opens sockets: one guarded client, and what goes over it."""
