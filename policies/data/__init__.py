"""Questions to train on, given or made from passages, and their augmentation."""
