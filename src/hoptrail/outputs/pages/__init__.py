"""HTML pages that need nothing else: the frame that all share, and the page of a recall."""
