"""What operators can do to a thing on a page: the permission, the question, the deed, and what to say of its outcome."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages

from events.control import ControlReply, Unavailable

#: Level of a message on the page, and its text.
Outcome = tuple[int, str]


class ConfirmForm(forms.Form):
    """Nothing but the button."""


@dataclass(frozen=True, slots=True)
class Action:
    """One action.

    name:      its place in the page's address
    label:     of the link to it and of the button that does it
    question:  what is asked before
    hint:      what to know before answering
    done:      what is said when it took effect
    carry_out: does it to the thing with this key, with the form's fields. Raises `Unavailable`.
    ends:      the thing's own page is gone afterwards
    """

    name: str
    permission: str
    label: str
    question: str
    hint: str
    done: str
    form: type[forms.Form]
    carry_out: Callable[[str, Mapping[str, Any]], ControlReply]
    ends: bool = False

    def perform(self, key: str, fields: Mapping[str, Any]) -> Outcome:
        """Do it, and say what became of it."""
        try:
            reply = self.carry_out(key, fields)
        except Unavailable as error:
            return messages.ERROR, f"Nobody can say whether it was done: {error} See whether it was, then try again."
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
