"""Network layouts and what prepares them for use; no files, no pipelines."""
