"""The store and its indexes: passages in, ranked passages out. `Store` is in `.store`."""
