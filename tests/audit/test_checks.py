"""What cannot be captured whole is refused before anything runs: one model, made on the fly, for each check."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from django.apps.registry import Apps
from django.core import checks as django_checks
from django.db import models
from django.test.utils import isolate_apps
from simple_history.models import registered_models

import audit
from audit import checks, registry
from audit.errors import BypassRefused
from audit.tracked import TrackedManager

# Signals know a sender by its address: were a model of a test forgotten, its receivers would hear another's one at the same place.
KEPT: list[Apps] = []


@pytest.fixture(autouse=True)
def apps_of_its_own() -> Iterator[None]:
    """Models made in a test are known to nobody else."""
    ledgers = (registry._protected, registered_models)
    before = [dict(ledger) for ledger in ledgers]
    with isolate_apps("tests.factory") as apps:
        yield
    KEPT.append(apps)
    for ledger, entries in zip(ledgers, before, strict=True):
        ledger.clear()
        ledger.update(entries)


class Labelled:
    app_label = "factory"


def owner() -> type[models.Model]:
    @audit.protect(system=True)
    class Owner(audit.TrackedModel):
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)

        class Meta(Labelled): ...

    return Owner


def found(model: type[models.Model]) -> list[str]:
    return [message.id.removeprefix("l2l_audit.") for message in checks.check_model(registry.of(model))]


def test_a_model_that_can_be_protected_passes():
    @audit.protect(customer="owner", reference="name")
    class Good(audit.TrackedModel):
        owner = models.ForeignKey(owner(), models.PROTECT)
        name = models.CharField(max_length=10)
        note = models.ForeignKey("self", models.CASCADE, null=True)
        file = audit.TrackedFileField()
        sha256 = models.CharField(max_length=64)
        size = models.BigIntegerField()

        class Meta(Labelled): ...

    assert found(Good) == []


def test_every_protected_model_of_the_project_passes():
    assert checks.check_protected_models(None) == []


def test_models_of_other_registries_are_not_the_projects():
    model = owner()
    assert registry.is_protected(model)
    assert model not in [one.model for one in registry.protected()]


def test_e001_tracked_without_protect():
    class Forgotten(audit.TrackedModel):
        class Meta(Labelled): ...

    assert [message.id for message in checks.unregistered([Forgotten])] == ["l2l_audit.E001"]
    with pytest.raises(BypassRefused, match="not protected"):
        Forgotten().save()


def test_e002_history_switched_off(settings):
    settings.SIMPLE_HISTORY_ENABLED = False
    assert [message.id for message in checks.check_protected_models(None)] == ["l2l_audit.E002"]


def test_e003_protected_without_being_tracked():
    @audit.protect(system=True)
    class Plain(models.Model):
        class Meta(Labelled): ...

    assert found(Plain) == ["E003"]


def test_e004_proxy_model():
    class Stand(owner()):
        class Meta(Labelled):
            proxy = True

    assert [message.id for message in checks.unregistered([Stand])] == ["l2l_audit.E004"]
    audit.protect(system=True)(Stand)
    assert found(Stand) == ["E004"]


def test_a_proxy_writes_nothing_around_its_model():
    class Stand(owner()):
        class Meta(Labelled):
            proxy = True

    stand = Stand(pk=uuid.uuid4())
    with pytest.raises(BypassRefused):
        stand.save()
    with pytest.raises(BypassRefused, match="is a proxy"):
        models.signals.pre_save.send(Stand, instance=stand)
    with pytest.raises(BypassRefused, match="is a proxy"):
        models.signals.pre_delete.send(Stand, instance=stand)


def test_e005_multi_table_inheritance():
    @audit.protect(system=True)
    class Child(owner()):
        class Meta(Labelled): ...

    assert "E005" in found(Child)


def test_e006_many_to_many():
    Owner = owner()

    class Tag(models.Model):
        class Meta(Labelled): ...

    @audit.protect(customer="owner")
    class Tagged(audit.TrackedModel):
        owner = models.ForeignKey(Owner, models.PROTECT)
        tags = models.ManyToManyField(Tag)

        class Meta(Labelled): ...

    assert found(Tagged) == ["E006"]


def test_a_many_to_many_through_a_protected_model_passes():
    Owner = owner()

    class Tag(models.Model):
        class Meta(Labelled): ...

    @audit.protect(customer="owner")
    class Tagged(audit.TrackedModel):
        owner = models.ForeignKey(Owner, models.PROTECT)
        tags = models.ManyToManyField(Tag, through="Tagging")

        class Meta(Labelled): ...

    @audit.protect(customer="tagged__owner")
    class Tagging(audit.TrackedModel):
        tagged = models.ForeignKey(Tagged, models.CASCADE)
        tag = models.ForeignKey(Tag, models.PROTECT)

        class Meta(Labelled): ...

    assert found(Tagged) == found(Tagging) == []


def test_e007_a_history_of_its_own_making_or_with_32_bit_ids():
    model = owner()
    vars(model)["history"].model._meta.pk.__class__ = models.AutoField
    assert found(model) == ["E007"]


def test_e008_paths_that_do_not_lead_to_a_customer():
    Owner = owner()

    class Unprotected(models.Model):
        owner = models.ForeignKey(Owner, models.PROTECT)

        class Meta(Labelled): ...

    @audit.protect(customer="owner")
    class Numbered(audit.TrackedModel):
        owner = models.ForeignKey(Owner, models.PROTECT)

        class Meta(Labelled): ...

    class Row(audit.TrackedModel):
        maybe = models.ForeignKey(Owner, models.PROTECT, null=True, related_name="+")
        around = models.ForeignKey(Unprotected, models.PROTECT, related_name="+")
        short = models.ForeignKey(Numbered, models.PROTECT, related_name="+")
        text = models.TextField()

        class Meta(Labelled): ...

    for path in ("nowhere", "text", "maybe", "around__owner", "short", "short__nowhere"):
        audit.protect(customer=path)(Row)
        assert found(Row) == ["E008"], path
    audit.protect(customer="short__owner")(Row)
    assert found(Row) == []


def test_e009_plain_file_field():
    @audit.protect(system=True)
    class Row(audit.TrackedModel):
        file = models.FileField()

        class Meta(Labelled): ...

    assert found(Row) == ["E009"]


def test_e010_columns_that_the_database_fills_in():
    @audit.protect(system=True)
    class Row(audit.TrackedModel):
        given = models.IntegerField(db_default=1)
        made = models.GeneratedField(expression=models.F("given") + 1, output_field=models.IntegerField(), db_persist=True)

        class Meta(Labelled): ...

    assert [one for one in found(Row) if one != "E011"] == ["E010", "E010"]


def test_e011_a_kind_without_canonical_form():
    class Colour(models.IntegerField):
        def get_internal_type(self):
            return "Colour"

    @audit.protect(system=True)
    class Row(audit.TrackedModel):
        address = models.GenericIPAddressField()
        colour = Colour()

        class Meta(Labelled): ...

    assert found(Row) == ["E011", "E011"]
    Colour.canonical_kind = "integer"
    assert found(Row) == ["E011"]


def test_e012_names_of_fields_that_are_not_there():
    @audit.protect(system=True, reference="code")
    class Row(audit.TrackedModel):
        file = audit.TrackedFileField(digest_field="digest", size_field="length")

        class Meta(Labelled): ...

    assert found(Row) == ["E012", "E012", "E012"]


@pytest.mark.parametrize("rule", [models.SET_NULL, models.SET_DEFAULT, models.SET(None), models.DO_NOTHING])
def test_e013_set_null_and_other_rules_that_change_rows_without_history(rule):
    @audit.protect(system=True)
    class Row(audit.TrackedModel):
        other = models.ForeignKey(owner(), rule, null=True, default=None)

        class Meta(Labelled): ...

    assert found(Row) == ["E013"]


def test_e014_managers_that_let_untracked_calls_through():
    @audit.protect(system=True)
    class Row(audit.TrackedModel):
        objects = models.Manager()

        class Meta(Labelled): ...

    assert found(Row) == ["E014", "E014"]  # it is the base manager too

    @audit.protect(system=True)
    class Second(audit.TrackedModel):
        around = models.Manager()

        class Meta(Labelled):
            base_manager_name = "around"

    assert found(Second) == ["E014", "E014"]


def test_a_composite_primary_key_is_refused_when_the_model_is_made():
    with pytest.raises(TypeError, match="composite primary key"):

        class Row(audit.TrackedModel):
            pk = models.CompositePrimaryKey("a", "b")
            a = models.IntegerField()
            b = models.IntegerField()

            class Meta(Labelled): ...


def test_e015_a_base_manager_that_hides_rows():
    class Living(TrackedManager):
        def get_queryset(self):
            return super().get_queryset().filter(dead=False)

    @audit.protect(system=True)
    class Row(audit.TrackedModel):
        dead = models.BooleanField(default=False)
        objects = Living()

        class Meta(Labelled): ...

    assert found(Row) == ["E015"]


def test_the_checks_run_with_djangos():
    assert checks.check_protected_models in django_checks.registry.registry.registered_checks


def test_protect_takes_either_a_path_or_the_system():
    for arguments in ({}, {"customer": "owner", "system": True}):
        with pytest.raises(TypeError):
            audit.protect(**arguments)


def test_parents_come_before_their_children():
    labels = [one.model.__name__ for one in registry.protected()]
    assert labels.index("Customer") < labels.index("Site") < labels.index("Line") < labels.index("Downtime")


def test_models_are_found_by_label_in_any_case_and_by_name_alone():
    for label in ("factory.downtime", "Factory.Downtime", "downtime"):
        assert registry.by_label(label).model.__name__ == "Downtime"
    assert registry.by_label("nothing") is None
