"""A small repository server with records of the project's own: the upstream of the demo and of the e2e tests."""
