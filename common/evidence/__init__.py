"""What runs leave behind and what follows from it: results, claims, figures, reports."""
