"""The commands: train, reproduce, report, bench and whatever else a person types."""
