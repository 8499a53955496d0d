"""A real shop for `make live`: a Vendure server from the npm registry, which nobody on this project wrote."""
