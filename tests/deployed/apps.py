from django.apps import AppConfig


class DeployedConfig(AppConfig):
    name = "tests.deployed"
    label = "deployed"
