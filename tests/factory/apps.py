from django.apps import AppConfig


class FactoryConfig(AppConfig):
    name = "tests.factory"
    label = "factory"
