"""The catalogue: locations, sets, stored objects and their copies, chunks, leases. Bookkeeping: it is never journaled."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models

from audit.models import Stream
from subscriptions.models import Customer


class Location(models.Model):
    """Where copies are kept. Its address comes from the environment, its credentials too; here stands what people see."""

    name = models.CharField(max_length=40, unique=True)
    url = models.CharField("address", max_length=500)
    offsite = models.BooleanField(default=False)
    required = models.BooleanField(default=True, help_text="A set is protected only when it is whole here too.")
    position = models.PositiveSmallIntegerField(default=0)
    in_force = models.BooleanField(default=True, help_text="The environment names it; else its row stays and it is used no more.")
    last_seen_at = models.DateTimeField(null=True, blank=True)
    trouble = models.CharField(max_length=500, blank=True, help_text="Why it could not be used when it was last tried.")
    # Verification (P4): set by `backups.verification.terms.change`.
    recheck_days = models.PositiveSmallIntegerField(default=30, help_text="Each object is read again within so many days.")
    nightly_bytes = models.PositiveBigIntegerField(null=True, help_text="Read a night at most; none: as much as the period asks for.")
    read_price = models.DecimalField(
        max_digits=10, decimal_places=4, null=True, help_text="What reading a GiB costs there, in your currency; none: nothing."
    )
    terms_by = models.CharField(max_length=150, blank=True, help_text="Who chose that, and why.")
    terms_reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("position", "name")

    def __str__(self) -> str:
        return self.name


class StreamQuerySet(models.QuerySet):
    def visible_to(self, user: Any) -> StreamQuerySet:
        """The rows of the customers whose data this person may see; the system stream's only with the right to see every customer."""
        if user.has_perm("l2l_subscriptions.view_all_customers"):
            return self
        return self.filter(stream_id__in=Customer.objects.visible_to(user).values("pk"))


class BackupSet(models.Model):
    """One full backup of one stream at one moment. It exists when its envelope verifies at a location; this row only says so."""

    class State(models.TextChoices):
        MAKING = "making", "being made"
        MADE = "made", "made"
        ABANDONED = "abandoned", "abandoned"
        LEAVING = "leaving", "being removed"
        REMOVED = "removed", "removed"

    class Proof(models.TextChoices):
        PROVED = "proved", "proved"
        BROKEN = "broken", "broken"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="sets")
    state = models.CharField(max_length=10, choices=State, default=State.MAKING)
    night = models.DateField(help_text="The night it belongs to, from noon to noon.")
    policy = models.PositiveIntegerField(null=True, help_text="The version of the policy that asked for it; none when a person did.")
    started_at = models.DateTimeField()
    snapshot_at = models.DateTimeField(null=True, help_text="The moment whose state the set holds.")
    complete_at = models.DateTimeField(null=True, help_text="Whole, and read back, at one location.")
    protected_at = models.DateTimeField(null=True, help_text="Whole, and read back, at every required location.")
    ended_at = models.DateTimeField(null=True)
    key_number = models.PositiveIntegerField(default=0)
    software_version = models.CharField(max_length=40, blank=True)
    rows = models.PositiveBigIntegerField(default=0)
    history_rows = models.PositiveBigIntegerField(default=0)
    files = models.PositiveBigIntegerField(default=0)
    absent_files = models.PositiveBigIntegerField(default=0, help_text="Files that history names and the upload storage no longer had.")
    content_bytes = models.PositiveBigIntegerField("content", default=0)
    new_bytes = models.PositiveBigIntegerField("newly stored", default=0, help_text="Stored bytes of the blobs that this set added.")
    new_blobs = models.PositiveIntegerField(default=0)
    reused_blobs = models.PositiveIntegerField(default=0)
    journal_number = models.BigIntegerField(null=True, help_text="The newest number of the stream's journal in it.")
    journal_digest = models.CharField(max_length=64, blank=True)
    journal_at = models.DateTimeField(null=True, help_text="The effective time of the newest whole transaction in it.")
    segment = models.BigIntegerField(null=True, help_text="The newest segment when its snapshot was taken: later ones go on from it.")
    timeline = models.PositiveIntegerField(default=1)
    # The nightly proof (design section 6): empty until it was made.
    proof = models.CharField(max_length=10, choices=Proof, blank=True)
    proof_text = models.TextField(blank=True, help_text="What is not as history says, a line each: names and keys, no values.")
    proved_at = models.DateTimeField(null=True)
    # The blobs it names, as one compressed array of ids (backups/idset.py): set x blob rows would be billions.
    blob_ids = models.BinaryField(default=bytes)
    trouble = models.CharField(max_length=500, blank=True)
    # Retention (P6): the week and month of its night, computed once; what it was chosen for; when age lets it go, by which policy, and why.
    week = models.CharField(max_length=20, blank=True)
    month = models.CharField(max_length=20, blank=True)
    goes_at = models.DateTimeField(null=True, help_text="Until then age keeps it; other reasons may keep it longer.")
    kept_why = models.CharField(max_length=300, blank=True)
    kept_policy = models.PositiveIntegerField(null=True, help_text="The version of the policy by which that was decided.")
    damaged_at = models.DateTimeField(null=True, help_text="When it was found damaged beyond mending.")
    left_at = models.DateTimeField(null=True, help_text="When retention let it go.")
    removed_at = models.DateTimeField(null=True, help_text="When nothing of its own was at any location any more.")

    objects = StreamQuerySet.as_manager()

    class Meta:
        verbose_name = "backup set"
        ordering = ("-started_at",)
        indexes = (
            models.Index(fields=("stream", "-started_at"), name="l2l_set_newest"),
            models.Index(fields=("-started_at",), name="l2l_set_started"),
            # With the bytes, so that what a night stored is added up from the index alone.
            models.Index(fields=("night", "state", "new_bytes"), name="l2l_set_night"),
            models.Index(fields=("goes_at",), condition=models.Q(state="made"), name="l2l_set_goes"),
            models.Index(fields=("stream",), condition=models.Q(state="leaving"), name="l2l_set_leaving"),
            models.Index(fields=("stream",), condition=models.Q(proof="broken"), name="l2l_set_broken"),
        )

    def __str__(self) -> str:
        return f"{self.stream.name} {self.night}"


class Blob(models.Model):
    """One immutable stored object. The row is written before the object (its intent), so that leftovers are known for what they are."""

    class Kind(models.TextChoices):
        BLOB = "blob", "content"
        BODY = "body", "set's body"
        ENVELOPE = "envelope", "set's envelope"
        KEY = "key", "wrapped key"
        ASIDE = "aside", "damaged bytes set aside"

    class State(models.TextChoices):
        INTENDED = "intended", "being stored"
        STORED = "stored", "stored"
        CONDEMNED = "condemned", "to be removed"

    id = models.BigAutoField(primary_key=True)
    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="+", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind)
    state = models.CharField(max_length=10, choices=State, default=State.INTENDED)
    name = models.CharField(max_length=200, unique=True)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    plain_size = models.PositiveBigIntegerField(default=0)
    made_by = models.ForeignKey(BackupSet, on_delete=models.SET_NULL, null=True, related_name="objects_made")
    hot = models.BooleanField(default=False, help_text="Stored by the hot shipper for a new upload, which no set need name yet.")

    class Meta:
        verbose_name = "stored object"
        indexes = (
            models.Index(fields=("stream", "kind", "state"), name="l2l_blob_stream"),
            models.Index(fields=("id",), condition=models.Q(hot=True), name="l2l_blob_hot"),
            models.Index(fields=("stream",), condition=models.Q(state="condemned"), name="l2l_blob_condemned"),
            models.Index(fields=("stream",), condition=models.Q(kind="key"), name="l2l_blob_key"),
        )

    def __str__(self) -> str:
        return self.name


class Copy(models.Model):
    """One stored object at one location: owed until its bytes were read back there."""

    class State(models.TextChoices):
        OWED = "owed", "owed"
        PRESENT = "present", "present"

    id = models.BigAutoField(primary_key=True)
    blob = models.ForeignKey(Blob, on_delete=models.CASCADE, related_name="copies")
    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="copies", db_index=False)
    state = models.CharField(max_length=10, choices=State, default=State.OWED)
    checked_at = models.DateTimeField(null=True, help_text="When its bytes were last read and found right.")

    class Meta:
        verbose_name = "copy"
        verbose_name_plural = "copies"
        constraints = (models.UniqueConstraint(fields=("blob", "location"), name="l2l_copy_once"),)
        indexes = (
            models.Index(fields=("location",), condition=models.Q(state="owed"), name="l2l_copy_owed"),
            models.Index(fields=("location", "checked_at"), condition=models.Q(state="present"), name="l2l_copy_checked"),
        )


class Chunk(models.Model):
    """Which plain chunk lies in which blob; chunks are compared by a keyed digest, so that the catalogue tells nothing about content."""

    id = models.BigAutoField(primary_key=True)
    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="+", db_index=False)
    digest = models.BinaryField(max_length=32)
    blob = models.ForeignKey(Blob, on_delete=models.CASCADE, related_name="chunks")
    offset = models.PositiveIntegerField()
    length = models.PositiveIntegerField()

    class Meta:
        indexes = (models.Index(fields=("digest",), name="l2l_chunk_digest"),)


class StoredFile(models.Model):
    """A file of several chunks that is stored already, by the keyed digest of its SHA-256: it need not be read again."""

    id = models.BigAutoField(primary_key=True)
    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="+", db_index=False)
    digest = models.BinaryField(max_length=32)
    chunk_ids = models.JSONField(default=list)

    class Meta:
        indexes = (models.Index(fields=("digest",), name="l2l_file_digest"),)


class Lease(models.Model):
    """Who may work on a stream now. `epoch` grows with every holder; a holder whose epoch has passed writes nothing more (fenced)."""

    name = models.CharField(max_length=100, primary_key=True)
    epoch = models.PositiveBigIntegerField(default=0)
    holder = models.CharField(max_length=200, blank=True)
    doing = models.CharField(max_length=40, blank=True)
    taken_at = models.DateTimeField()
    expires_at = models.DateTimeField()
