"""What people type on the pages of a customer's end."""

from __future__ import annotations

from django import forms
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminPasswordWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from audit import clock
from audit.decisions import MomentInput, ReasonForm

STAYS = "Stays in the customer's file for good, with your name and the time: quote none of its data."


class AskForm(forms.Form):
    why = forms.CharField(label="Why it ends", max_length=500, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}), help_text=STAYS)


class WaiverForm(ReasonForm):
    document = forms.FileField(
        label="Document", widget=UnfoldAdminFileFieldWidget, help_text="In which the customer says that it wants no data back."
    )


class NoticeForm(ReasonForm):
    notice = forms.FileField(
        label="Proof of notice",
        widget=UnfoldAdminFileFieldWidget,
        help_text="That the customer was told, and what silence means: a registered letter, an answer of its mail server.",
    )


class RecipientField(forms.CharField):
    """The customer's own age key; what is no such key is refused by the verb."""

    def __init__(self) -> None:
        super().__init__(
            label="Encrypt the package to",
            required=False,
            max_length=200,
            widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false", "placeholder": "age1…"}),
            help_text="The customer's own age recipient, if it gave you one. Empty: as before; a package is not encrypted by itself.",
        )


class ReturnForm(forms.Form):
    recipient = RecipientField()


class FaultForm(forms.Form):
    by_name = forms.CharField(label="Who at the customer told you", max_length=200, widget=UnfoldAdminTextInputWidget)
    what = forms.CharField(label="What is wrong", max_length=2000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}), help_text=STAYS)
    recipient = RecipientField()


class ReceiptForm(forms.Form):
    verified_by = forms.CharField(
        label="Who at the customer verified it", max_length=200, widget=UnfoldAdminTextInputWidget, help_text="Name and function."
    )
    package_sha256 = forms.CharField(
        label="SHA-256 that they told you",
        max_length=100,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="Of the file that they have, as they computed it; not copied from this page.",
    )
    how = forms.CharField(label="How they verified it", max_length=1000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}))
    verified_at = forms.DateTimeField(label="When they verified it (UTC)", widget=MomentInput, initial=clock.now)


class ApproveForm(forms.Form):
    code = forms.CharField(
        label="The customer's short code",
        max_length=40,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="Typed by you: what is destroyed cannot be brought back.",
    )
    why = forms.CharField(
        label="Why you approve", max_length=500, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}), help_text=f"What you checked. {STAYS}"
    )
    password = forms.CharField(
        label="Your password",
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"}),
        help_text="Asked again, so that nobody decides at a desk that you have left.",
    )
