from django.apps import AppConfig

from backups.memory import give_back_large_blocks


class BackupsConfig(AppConfig):
    name = "backups"
    label = "l2l_backups"
    verbose_name = "Backups"

    def ready(self) -> None:
        give_back_large_blocks()
