"""The evidence: results of runs, claims, verdicts, figures and reports."""
