"""One recording, looked into: the files of the original scripts, drawings, sheets."""
