"""Where stored objects live: one contract (`contract.py`), several stores, one test suite run against each."""
