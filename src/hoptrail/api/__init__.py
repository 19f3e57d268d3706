"""The front: `Memory`, what it is made of, and its asynchronous twin."""
