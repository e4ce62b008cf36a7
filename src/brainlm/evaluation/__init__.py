"""Scores on held-out subjects, unclipped, with their uncertainty, beside the baselines on the same masks."""
