"""The fourth program: whoever wants in and should not get in."""
