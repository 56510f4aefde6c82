"""What can go wrong for good. What a repeat can mend is repeated instead, and never raised."""


class WorkflowEventsError(Exception):
    """The base of all errors of this package."""


class ConnectionFailed(WorkflowEventsError):
    """No subscription came about within `give_up_s`."""


class AuthenticationFailed(WorkflowEventsError):
    """The server wants a token and was given none, or one that it does not accept."""


class SubscriptionRefused(WorkflowEventsError):
    """The server does not take a subscription. `code` is the stable one of the server's guide, `topic` what was asked for."""

    def __init__(self, message: str, code: str, topic: str) -> None:
        super().__init__(f"The server refuses the subscription to {topic}: {message}")
        self.code = code
        self.topic = topic


class ProtocolError(WorkflowEventsError):
    """What answers is not this server. Another attempt is made: a proxy may have answered in its place."""


class MessageTooLarge(WorkflowEventsError):
    """One message of the server has more bytes than this client takes."""


class InvalidEvent(WorkflowEventsError, ValueError):
    """An event that the server would refuse. `field` names what is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
