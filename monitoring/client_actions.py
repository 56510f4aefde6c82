"""What operators can do to a live client: the permission, the question, the deed, and what to say of its outcome."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.contrib import messages

from events.access.store import UnknownToken, revoke
from events.control import NOTICE_LENGTH, ControlReply, Unavailable, describe, disconnect, send_notice, unsubscribe

#: Level of a message on the page, and its text.
Outcome = tuple[int, str]


class ConfirmForm(forms.Form):
    """Nothing but the button."""


class TopicForm(forms.Form):
    """Which subscription; comes with the link."""

    topic = forms.CharField(widget=forms.HiddenInput)


class NoticeForm(forms.Form):
    """What to tell."""

    message = forms.CharField(
        max_length=NOTICE_LENGTH, widget=forms.Textarea({"rows": 3, "class": "vLargeTextField"}), help_text="Plain text."
    )
    level = forms.ChoiceField(choices=[("info", "info"), ("warning", "warning"), ("critical", "critical")])


@dataclass(frozen=True, slots=True)
class ClientAction:
    """One action.

    name:      its place in the page's address
    label:     of the link to it and of the button that does it
    question:  what is asked before
    hint:      what to know before answering
    done:      what is said when it took effect
    carry_out: does it to the client with this sid, with the form's fields. Raises `Unavailable`.
    """

    name: str
    permission: str
    label: str
    question: str
    hint: str
    done: str
    form: type[forms.Form]
    carry_out: Callable[[str, Mapping[str, Any]], ControlReply]

    def perform(self, sid: str, fields: Mapping[str, Any]) -> Outcome:
        """Do it, and say what became of it."""
        try:
            reply = self.carry_out(sid, fields)
        except Unavailable as error:
            return messages.ERROR, f"Nobody can say whether it was done: {error} Look at the client, then try again."
        return self._outcome(reply, fields)

    def _outcome(self, reply: ControlReply, fields: Mapping[str, Any]) -> Outcome:
        match reply.outcome:
            case "done":
                return messages.SUCCESS, self.done.format_map(fields)
            case "refused":
                return messages.ERROR, f"Nothing was done. {reply.detail}"
            case "unheard":
                return messages.ERROR, (
                    "Nothing was done: the client's server process did not answer in time, and will not act on this later. "
                    "See whether that process is well, then try again."
                )
            case _:
                return messages.WARNING, (
                    "The client's server process took the request, and did not say in time what became of it. "
                    "Look at the client to see."
                )


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
        ClientAction(
            "notice", "notify_liveclient", "Send a notice", "What is this client to be told?",
            "It gets the event notice; its program decides what people see of it.",
            "The notice was sent.", NoticeForm,
            lambda sid, fields: send_notice(sid, fields["message"], fields["level"]),
        ),
        ClientAction(
            "unsubscribe", "unsubscribe_liveclient", "Unsubscribe", "Take this subscription from the client?",
            "It is told by unsubscribed, and may subscribe again.",
            "Unsubscribed from {topic}.", TopicForm,
            lambda sid, fields: unsubscribe(sid, fields["topic"]),
        ),
        ClientAction(
            "disconnect", "disconnect_liveclient", "Disconnect", "Disconnect this client?",
            "Most client programs connect again by themselves, with a new sid.",
            "The client was disconnected.", ConfirmForm,
            lambda sid, fields: disconnect(sid),
        ),
        ClientAction(
            "revoke_token", "revoke_liveclient_token", "Revoke its token", "Revoke the token of this client?",
            "It is worth nothing from then on, for ever. Every client that gave it loses what it allows within 2 seconds.",
            "The token was revoked.", ConfirmForm,
            _revoke_token,
        ),
    )
}  # fmt: skip
