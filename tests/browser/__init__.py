"""The pages and the script, as people use them: in Chromium, with a camera that plays a file."""
