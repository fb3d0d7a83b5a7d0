from tests.l2l.alarms.conftest import minutes

__all__ = ["minutes"]
