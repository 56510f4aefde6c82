"""Template helpers of the pages under *Monitoring*."""

from datetime import UTC, datetime

from django import template
from django.templatetags.static import static
from django.utils.html import format_html

from events.stats import ClientRow
from monitoring.listing import subscription_count

register = template.Library()

#: Topics shown in a row; the rest is counted.
TOPICS_SHOWN = 3


@register.filter
def from_unix(seconds: float) -> datetime:
    """Unix seconds as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


@register.filter
def moment(seconds: float) -> str:
    """Unix seconds for people and for programs."""
    at = from_unix(seconds)
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), at.strftime("%Y-%m-%d %H:%M:%S"))


@register.filter
def thousands(number: int) -> str:
    """A number that people can read."""
    return f"{number:,}"


@register.filter
def yes_no(value: bool) -> str:
    """The admin's icon for it."""
    name, text = ("icon-yes.svg", "Yes") if value else ("icon-no.svg", "No")
    return format_html('<img src="{}" alt="{}">', static(f"admin/img/{name}"), text)


@register.filter
def subscriptions(client: ClientRow) -> int:
    """How many subscriptions a client has."""
    return subscription_count(client)


@register.filter
def topics_line(client: ClientRow) -> str:
    """The first topics of a client, and how many more there are."""
    shown = client.topics[:TOPICS_SHOWN]
    more = subscription_count(client) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if shown and more > 0 else "")


@register.filter
def took(seconds: float | None) -> str:
    """A duration that people can read."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


@register.filter
def status_class(status: str) -> str:
    """The class of a status; publishers have words of their own, which look neutral."""
    return status if status in ("running", "completed", "failed") else "other"
