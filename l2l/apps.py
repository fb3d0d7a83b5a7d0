import gc

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class L2LConfig(AppConfig):
    name = "l2l"
    label = "l2l"
    verbose_name = "Back office"

    def ready(self) -> None:
        from l2l import checks, controls  # noqa: F401  (registers them)

        controls.register()

        # The last app: what is loaded by now is never garbage, and forked processes share its pages as long as nobody counts in them.
        gc.freeze()
        gc.enable()


class BackOfficeAdminConfig(admin_apps.AdminConfig):
    default = False
    default_site = "l2l.admin.site.BackOfficeSite"

    def ready(self) -> None:
        super().ready()
        from l2l.admin import pages  # noqa: F401  (registers them)
