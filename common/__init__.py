"""What no paper says: configuration, data, the training loop, claims and reports."""
