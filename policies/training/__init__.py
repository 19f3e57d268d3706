"""How it is optimised: settings, trainer, stages, checkpoints, calibration, validation."""
