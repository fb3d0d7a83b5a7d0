from django.apps import AppConfig


class BackupsConfig(AppConfig):
    name = "backups"
    label = "l2l_backups"
    verbose_name = "Backups"
