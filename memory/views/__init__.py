"""The view of a scope: its indexes together, which follow the store and are shared by readers."""
