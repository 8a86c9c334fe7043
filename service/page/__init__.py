"""The pages: record, the history, the interface; and the script that other pages embed."""
