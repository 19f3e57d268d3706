"""What a memory shows of itself: pictures of its graph, and the journal of its recalls."""
