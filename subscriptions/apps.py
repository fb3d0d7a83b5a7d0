from django.apps import AppConfig


class SubscriptionsConfig(AppConfig):
    name = "subscriptions"
    label = "l2l_subscriptions"
    verbose_name = "Customers"

    def ready(self) -> None:
        from subscriptions import controls, listings

        controls.register()
        listings.register()
