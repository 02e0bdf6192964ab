"""The error museum: error strings that people search for, each with its cause, and reproduced on demand."""
