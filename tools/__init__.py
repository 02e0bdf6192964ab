"""For those who keep the course in order: the environment, the lesson diffs, carrying a change, checking READMEs."""
