"""The live clients as Django's admin sees them: a name and a permission, no table."""

from typing import ClassVar

from django.db import models


class NotStored(models.Manager[models.Model]):
    """Finds nothing: all this is known to `events.stats`, and commands such as `dumpdata` must not look for a table."""

    def get_queryset(self) -> models.QuerySet[models.Model]:
        return super().get_queryset().none()


class LiveClient(models.Model):
    """A connected client. Gives the admin page its place in the index and its permission `monitoring.view_liveclient`."""

    sid = models.CharField(primary_key=True, max_length=64)

    objects: ClassVar[NotStored] = NotStored()

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions: ClassVar = [
            ("notify_liveclient", "Can send notices to live clients"),
            ("unsubscribe_liveclient", "Can unsubscribe live clients"),
            ("disconnect_liveclient", "Can disconnect live clients"),
            ("revoke_liveclient_token", "Can revoke the tokens of live clients"),
        ]
        verbose_name = "live client"

    def __str__(self) -> str:
        return self.sid


class Dashboard(models.Model):
    """What the whole does, and how it fares. Gives the page its place in the index and the permission to see it."""

    objects: ClassVar[NotStored] = NotStored()

    class Meta:
        managed = False
        default_permissions = ("view",)
        verbose_name = verbose_name_plural = "dashboard"

    def __str__(self) -> str:
        return "dashboard"


class EmergencyState(models.Model):
    """The platform's emergency state, and who may see and set it."""

    objects: ClassVar[NotStored] = NotStored()

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions: ClassVar = [("set_emergencystate", "Can set the emergency state")]
        verbose_name = verbose_name_plural = "emergency state"

    def __str__(self) -> str:
        return "emergency state"


class DeadLetter(models.Model):
    """A refused document, and who may see, publish again or discard it."""

    letter_id = models.CharField(primary_key=True, max_length=64)

    objects: ClassVar[NotStored] = NotStored()

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions: ClassVar = [
            ("republish_deadletter", "Can publish dead letters again"),
            ("discard_deadletter", "Can discard dead letters"),
        ]
        verbose_name = "dead letter"

    def __str__(self) -> str:
        return self.letter_id


class Execution(models.Model):
    """A running or lately finished execution, and who may see it."""

    execution_id = models.CharField(primary_key=True, max_length=4_096)

    objects: ClassVar[NotStored] = NotStored()

    class Meta:
        managed = False
        default_permissions = ("view",)
        verbose_name = "execution"

    def __str__(self) -> str:
        return self.execution_id


class Topic(models.Model):
    """What clients subscribe to, and who may see it."""

    name = models.CharField(primary_key=True, max_length=4_096)

    objects: ClassVar[NotStored] = NotStored()

    class Meta:
        managed = False
        default_permissions = ("view",)
        verbose_name = "topic"

    def __str__(self) -> str:
        return self.name
