"""Registers the admins that span apps. Loaded when the apps are ready, after each app's own `admin.py`."""

from l2l.admin import access, alarms, customers, endings, evidence, evidence_packs, findings, people, schema_versions

__all__ = ["access", "alarms", "customers", "endings", "evidence", "evidence_packs", "findings", "people", "schema_versions"]
