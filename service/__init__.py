"""The HTTP layer: one blueprint per concern over the one verb of `syncnet_wrapper`.

Nothing that is imported here loads torch, OpenCV or PyAV: recordings are analysed in supervised
child processes (`scorer` starts them, `worker` is what runs in them).
"""

__version__ = "0.1.0"
