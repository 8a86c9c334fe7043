"""Live and recorded HLS streams: playlists and segments in, a verdict every few seconds out."""
