"""Plumbing: everything a step needs and no step is about. The same for all steps."""
