"""The programs that tell a student which promises of a step their own edit keeps."""
