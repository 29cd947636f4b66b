"""The commands: train, reproduce, report, bench and all others that a user types."""
