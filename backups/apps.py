from django.apps import AppConfig

from backups.memory import give_back_large_blocks


class BackupsConfig(AppConfig):
    name = "backups"
    label = "l2l_backups"
    verbose_name = "Backups"

    def ready(self) -> None:
        from audit.history_pages import register_keeper
        from backups import controls, populations, whereabouts
        from backups.destroy import certificate
        from backups.prune import agreed_terms
        from backups.test_restores import exempting
        from subscriptions import term_effects
        from subscriptions.ending import standing

        give_back_large_blocks()
        register_keeper(whereabouts.kept)
        term_effects.register(agreed_terms.on_sets)
        exempting.leave_alone(standing.left_alone)
        certificate.register()
        controls.register()
        populations.register()
