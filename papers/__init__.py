"""One folder a paper; every folder has the same files."""
