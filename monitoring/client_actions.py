"""What operators can do to a live client."""

from collections.abc import Mapping
from typing import Any, Final

from django import forms

from events.access.store import UnknownToken, revoke
from events.control import NOTICE_LENGTH, ControlReply, describe, disconnect, send_notice, unsubscribe
from monitoring.actions import Action, ConfirmForm


class TopicForm(forms.Form):
    """Which subscription; comes with the link."""

    topic = forms.CharField(widget=forms.HiddenInput)


class NoticeForm(forms.Form):
    """What to tell."""

    message = forms.CharField(
        max_length=NOTICE_LENGTH, widget=forms.Textarea({"rows": 3, "class": "vLargeTextField"}), help_text="Plain text."
    )
    level = forms.ChoiceField(choices=[("info", "info"), ("warning", "warning"), ("critical", "critical")])


def _revoke_token(sid: str, fields: Mapping[str, Any]) -> ControlReply:
    found = describe(sid)
    if isinstance(found, ControlReply):
        return found
    if not found.token_id:
        return ControlReply("refused", "This client has given no token.")
    try:
        revoke(found.token_id)
    except UnknownToken as error:
        return ControlReply("refused", str(error))
    return ControlReply("done")


ACTIONS: Final = {
    action.name: action
    for action in (
        Action(
            "notice", "notify_liveclient", "Send a notice", "What is this client to be told?",
            "It gets the event notice; its program decides what people see of it.",
            "The notice was sent.", NoticeForm,
            lambda sid, fields: send_notice(sid, fields["message"], fields["level"]),
        ),
        Action(
            "unsubscribe", "unsubscribe_liveclient", "Unsubscribe", "Take this subscription from the client?",
            "It is told by unsubscribed, and may subscribe again.",
            "Unsubscribed from {topic}.", TopicForm,
            lambda sid, fields: unsubscribe(sid, fields["topic"]),
        ),
        Action(
            "disconnect", "disconnect_liveclient", "Disconnect", "Disconnect this client?",
            "Most client programs connect again by themselves, with a new sid.",
            "The client was disconnected.", ConfirmForm,
            lambda sid, fields: disconnect(sid), ends=True,
        ),
        Action(
            "revoke_token", "revoke_liveclient_token", "Revoke its token", "Revoke the token of this client?",
            "It is worth nothing from then on, for ever. Every client that gave it loses what it allows within 2 seconds.",
            "The token was revoked.", ConfirmForm,
            _revoke_token,
        ),
    )
}  # fmt: skip
