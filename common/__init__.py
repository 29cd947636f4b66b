"""The stack that all papers share: configuration, data, the training loop, claims and reports."""
