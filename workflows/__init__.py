"""What the command line does with an operator's own files: clips, chunks, batches, streams.

It drives the same verb as the service, `SyncNetWrapper`, and knows no Flask.
"""
