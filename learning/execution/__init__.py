"""How a training is carried out: on one thread, over processes, and when it stops."""
