from .store import HoptrailStore as HoptrailStore
