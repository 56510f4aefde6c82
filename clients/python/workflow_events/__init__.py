"""Subscribe to workflow events without losing one, and publish them from executors."""

from workflow_events.async_client import AsyncClient, AsyncSubscription
from workflow_events.client import Client, Subscription
from workflow_events.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    InvalidEvent,
    MessageTooLarge,
    SubscriptionRefused,
    WorkflowEventsError,
)
from workflow_events.execution import Execution, Node
from workflow_events.items import Connected, Disconnected, Event, Item, Missed, Snapshot, Subscribed
from workflow_events.publisher import Publisher, PublisherStats
from workflow_events.topics import Position

__version__ = "1.0.0"

__all__ = [
    "AsyncClient",
    "AsyncSubscription",
    "AuthenticationFailed",
    "Client",
    "Connected",
    "ConnectionFailed",
    "Disconnected",
    "Event",
    "Execution",
    "InvalidEvent",
    "Item",
    "MessageTooLarge",
    "Missed",
    "Node",
    "Position",
    "Publisher",
    "PublisherStats",
    "Snapshot",
    "Subscribed",
    "Subscription",
    "SubscriptionRefused",
    "WorkflowEventsError",
]
