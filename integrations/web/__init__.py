"""What our HTTP servers share: where they listen, by which names they are called, who may call."""
