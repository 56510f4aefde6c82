"""Access tokens as the database knows them: their hash, never the token."""

from typing import ClassVar

from django.db import models
from django.utils import timezone


class AccessToken(models.Model):
    """One access token.

    id:     its public part, by which it is found, shown and revoked
    digest: SHA-256 of the whole token, in hex
    scopes: one per line (`events.domain.grants`)
    """

    id = models.CharField("id", primary_key=True, max_length=16, editable=False)
    name = models.CharField(max_length=100, help_text="What or whom it is for. Shown in lists and logs.")
    digest = models.CharField(max_length=64, editable=False)
    scopes = models.TextField(max_length=20_000)
    created_at = models.DateTimeField("created", auto_now_add=True)
    expires_at = models.DateTimeField("expires", null=True, blank=True, help_text="In UTC. Empty: never.")
    last_used_at = models.DateTimeField("last used", null=True, editable=False)
    revoked_at = models.DateTimeField("revoked", null=True, editable=False)

    objects: ClassVar[models.Manager["AccessToken"]] = models.Manager()

    class Meta:
        ordering = ("-created_at",)
        # What members of staff may do over HTTP with their login, besides reading.
        permissions = (("publish", "Can publish events"), ("operate", "Can change the emergency state"))

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"

    @property
    def status(self) -> str:
        """`valid`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= timezone.now() else "valid"

    @property
    def scope_list(self) -> list[str]:
        return [line.strip() for line in self.scopes.splitlines() if line.strip()]


class RevokedLogin(models.Model):
    """A signed token that was revoked before its end, by the id that lists and logs show.

    expires_at: its end, as soon as it is known; then it is kept no longer than that
    """

    token_id = models.CharField(primary_key=True, max_length=64)
    revoked_at = models.DateTimeField("revoked", auto_now_add=True)
    expires_at = models.DateTimeField("expires", null=True, editable=False)

    objects: ClassVar[models.Manager["RevokedLogin"]] = models.Manager()

    class Meta:
        verbose_name = "revoked login"

    def __str__(self) -> str:
        return self.token_id
