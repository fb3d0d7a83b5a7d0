"""The admin site: its front page, its navigation, and what tells a sample from the real thing."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import path, reverse_lazy
from unfold.dataclasses import Favicon
from unfold.sites import UnfoldAdminSite

STYLES = "back_office/back_office.css"
SCRIPT = "back_office/refresh.js"
ICON = "back_office/icon.svg"

# Title of the group, then each page: title, icon, name of its address, right that shows it.
PAGES: list[tuple[str, list[tuple[str, str, str, str]]]] = [
    (
        "",
        [
            ("Overview", "dashboard", "index", ""),
            ("My work", "work", "my_work", "l2l_subscriptions.hand_over_customer"),
        ],
    ),
    (
        "Customers",
        [
            ("Customers", "apartment", "l2l_subscriptions_customer_changelist", "l2l_subscriptions.view_customer"),
            ("Subscriptions", "contract", "l2l_subscriptions_subscription_changelist", "l2l_subscriptions.view_subscription"),
            (
                "Changes of terms",
                "history_edu",
                "l2l_subscriptions_termchangerequest_changelist",
                "l2l_subscriptions.view_termchangerequest",
            ),
            (
                "Compared with billing",
                "compare_arrows",
                "l2l_subscriptions_reconciliation_changelist",
                "l2l_subscriptions.view_reconciliation",
            ),
            ("Ends of customers", "logout", "l2l_subscriptions_deletionrequest_changelist", "l2l_subscriptions.view_deletionrequest"),
            (
                "Deemed receipts",
                "hourglass_disabled",
                "l2l_subscriptions_deemedreceiptrequest_changelist",
                "l2l_subscriptions.view_deemedreceiptrequest",
            ),
            ("Legal holds", "gavel", "l2l_subscriptions_legalhold_changelist", "l2l_subscriptions.view_legalhold"),
            (
                "Hold releases",
                "lock_open",
                "l2l_subscriptions_holdreleaserequest_changelist",
                "l2l_subscriptions.view_holdreleaserequest",
            ),
        ],
    ),
    (
        "Content",
        [
            ("Data records", "dataset", "l2l_subscriptions_datarecord_changelist", "l2l_subscriptions.view_datarecord"),
            ("Uploads", "upload_file", "l2l_subscriptions_uploadedcontent_changelist", "l2l_subscriptions.view_uploadedcontent"),
            ("Links", "link", "l2l_subscriptions_link_changelist", "l2l_subscriptions.view_link"),
        ],
    ),
    (
        "Backups",
        [
            ("Hot backups", "flash_on", "l2l_backups_hotstate_changelist", "l2l_backups.view_hotstate"),
            ("Nights", "nights_stay", "l2l_backups_run_changelist", "l2l_backups.view_run"),
            ("Retention", "auto_delete", "l2l_backups_retentionlook_changelist", "l2l_backups.view_retentionlook"),
            ("Backup policy", "policy", "l2l_backups_backuppolicy_changelist", "l2l_backups.view_backuppolicy"),
            ("Policy requests", "how_to_reg", "l2l_backups_policychangerequest_changelist", "l2l_backups.view_policychangerequest"),
            ("Backup sets", "inventory_2", "l2l_backups_backupset_changelist", "l2l_backups.view_backupset"),
            (
                "Live restores",
                "settings_backup_restore",
                "l2l_backups_liverestorerequest_changelist",
                "l2l_backups.view_liverestorerequest",
            ),
            ("Purge requests", "playlist_remove", "l2l_backups_purgerequest_changelist", "l2l_backups.view_purgerequest"),
            ("Purges", "delete_sweep", "l2l_backups_purge_changelist", "l2l_backups.view_purge"),
            ("Locations", "database", "l2l_backups_location_changelist", "l2l_backups.view_location"),
            ("Stored objects", "deployed_code", "l2l_backups_blob_changelist", "l2l_backups.view_blob"),
            ("Copies", "file_copy", "l2l_backups_copy_changelist", "l2l_backups.view_copy"),
            ("Items taken", "move_to_inbox", "l2l_backups_itemexport_changelist", "l2l_backups.view_itemexport"),
            ("Exports", "output", "l2l_subscriptions_export_changelist", "l2l_subscriptions.view_export"),
        ],
    ),
    (
        "Proof",
        [
            ("Controls", "verified", "controls", "l2l_audit.view_controlstate"),
            ("Alarms", "notifications_active", "l2l_audit_alarm_changelist", "l2l_audit.view_alarm"),
            ("Evidence packs", "folder_zip", "l2l_audit_evidencepack_changelist", "l2l_audit.view_evidencepack"),
            ("Findings", "assignment_late", "l2l_audit_finding_changelist", "l2l_audit.view_finding"),
            ("Verification", "fact_check", "l2l_backups_verificationpass_changelist", "l2l_backups.view_verificationpass"),
            ("Damage", "broken_image", "l2l_backups_damage_changelist", "l2l_backups.view_damage"),
            ("Unknown objects", "unknown_document", "l2l_backups_unknownobject_changelist", "l2l_backups.view_unknownobject"),
            ("Test restores", "science", "l2l_backups_testrestore_changelist", "l2l_backups.view_testrestore"),
            ("Tests owed", "event_repeat", "l2l_backups_testcell_changelist", "l2l_backups.view_testcell"),
            ("Readings", "monitoring", "l2l_audit_reading_changelist", "l2l_subscriptions.view_all_customers"),
            ("Anchors", "anchor", "l2l_audit_anchor_changelist", "l2l_audit.view_anchor"),
            ("Schema versions", "schema", "l2l_audit_schemaversion_changelist", "l2l_audit.view_schemaversion"),
        ],
    ),
    (
        "Keys",
        [
            ("Keys", "key", "l2l_backups_keyringversion_changelist", "l2l_backups.view_keyringversion"),
            ("Changes of keys", "key_vertical", "l2l_backups_keychangerequest_changelist", "l2l_backups.view_keychangerequest"),
            ("Escrow drills", "encrypted", "l2l_backups_escrowdrill_changelist", "l2l_backups.view_escrowdrill"),
        ],
    ),
    (
        "Queue",
        [
            ("Schedules", "schedule", "django_q_schedule_changelist", "django_q.view_schedule"),
            ("Waiting tasks", "hourglass_empty", "django_q_ormq_changelist", "django_q.view_ormq"),
            ("Failed tasks", "error", "django_q_failure_changelist", "django_q.view_failure"),
        ],
    ),
    (
        "People",
        [
            ("Users", "person", "auth_user_changelist", "auth.view_user"),
            ("Groups", "group", "auth_group_changelist", "auth.view_group"),
            ("Roles given", "badge", "l2l_audit_grant_changelist", "l2l_audit.view_grant"),
            ("Access review", "admin_panel_settings", "l2l_audit_accessreview_now", "l2l_audit.view_accessreview"),
            ("Attestations", "signature", "l2l_audit_attestation_changelist", "l2l_audit.view_attestation"),
            ("Evidence", "receipt_long", "l2l_audit_event_changelist", "l2l_audit.view_event"),
        ],
    ),
]


class BackOfficeSite(UnfoldAdminSite):
    index_template = "back_office/index.html"
    enable_nav_sidebar = True

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context = super().each_context(request)
        return {
            **context,
            "styles": [*context["styles"], static(STYLES)],
            "scripts": [*context["scripts"], static(SCRIPT)],
            "site_favicons": [Favicon(href=static(ICON), rel="icon", type="image/svg+xml")],
        }

    def get_urls(self) -> list[Any]:
        from l2l.admin import controls, my_work

        return [
            path("my-work/", self.admin_view(my_work.page), name="my_work"),
            path("controls/", self.admin_view(controls.every), name="controls"),
            path("controls/<str:name>/", self.admin_view(controls.one), name="control"),
            *super().get_urls(),
        ]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from l2l.admin.front import front_page

        return super().index(request, {**front_page(request.user), "title": "Overview", **(extra_context or {})})


def right_of(address: str) -> str:
    """The right that a page asks for, by the name of its address (`admin:...`): as the navigation has it, or of the rows that it lists."""
    rights = {f"admin:{name}": right for _, pages in PAGES for _, _, name, right in pages}
    listed, _, page = address.removeprefix("admin:").rpartition("_")
    app, _, model = listed.rpartition("_")
    return rights.get(address, f"{app}.view_{model}" if page == "changelist" else "")


def environment_badge(request: HttpRequest) -> list[str] | None:
    return ["SAMPLE", "warning"] if settings.L2L_SAMPLE else None


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The pages that this person may open."""
    return [{"title": title, "items": [_item(*page) for page in pages]} for title, pages in PAGES]


def _item(title: str, icon: str, name: str, right: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{name}"),
        "permission": lambda request: not right or request.user.has_perm(right),
    }
