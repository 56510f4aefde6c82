"""Every setting, from the environment. `.env.example` lists the variables; `events.checks` judges the whole of them.

Nothing here fails because a variable is missing: the system checks name all that are, at once. A value that makes no
sense is refused where it is read.
"""

from pathlib import Path
from typing import Any, Final

from csp import constants as csp

from events.conf import JWT_ALGORITHMS, AccessLimits, EventsConfig, HistoryLimits, JwtConfig, SessionLimits, TracingConfig
from events.domain.event import EventLimits
from wsproject import VERSION
from wsproject.env import load, split_items
from wsproject.logs import logging_config

BASE_DIR: Final = Path(__file__).resolve().parent.parent

env = load(BASE_DIR)

# -- environment -------------------------------------------------------------------------------------------------------

ENV = env.choice("ENV", "development", ("development", "production"))
PRODUCTION = ENV == "production"
DEBUG = not PRODUCTION

#: Development has one that everybody knows, so that sessions outlive a restart; production has to bring its own.
SECRET_KEY = env.secret("SECRET_KEY", "" if PRODUCTION else "known-to-everybody-and-used-in-development-only")

#: The server's own names always work, so that a health check on the machine needs no configuration.
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]")
ALLOWED_HOSTS = [*env.items("ALLOWED_HOSTS", () if PRODUCTION else ("*",)), *LOCAL_HOSTS]

# -- the server --------------------------------------------------------------------------------------------------------

WS_HOST = env.text("WS_HOST", "0.0.0.0")
WS_PORT = env.integer("WS_PORT", 8001, 1, 65_535)

#: Server processes that share the port.
WS_WORKERS = env.integer("WS_WORKERS", 1, 1, 256)

#: Behind a proxy that sets X-Real-IP and X-Forwarded-Proto itself; else clients could set them.
WS_PROXY_HEADERS = env.flag("WS_PROXY_HEADERS", default=False)
_trusted_proxies = env.networks("WS_TRUSTED_PROXIES")

REDIS_URL = env.redis_url("REDIS_URL")
WS_REDIS_PREFIX = env.word("WS_REDIS_PREFIX", "wsserver")

_tokens = tuple(split_items(env.secret("WS_AUTH_TOKEN")))
_jwt = JwtConfig(
    secret=env.secret("WS_JWT_SECRET"),
    public_key=env.secret("WS_JWT_PUBLIC_KEY"),
    algorithms=env.choices("WS_JWT_ALGORITHMS", (), JWT_ALGORITHMS),
    audience=env.items("WS_JWT_AUDIENCE"),
    issuer=env.items("WS_JWT_ISSUER"),
    scope_claim=env.text("WS_JWT_SCOPE_CLAIM", "scope"),
    leeway_s=env.number("WS_JWT_LEEWAY_S", 10.0, 0.0, 300.0),
)
_max_id_length = env.integer("WS_MAX_ID_LENGTH", 256, 1, 4_096)
_max_payload_bytes = env.integer("WS_MAX_PAYLOAD_BYTES", 1_000_000, 1_024, 100_000_000)

EVENTS = EventsConfig(
    redis_url=REDIS_URL,
    redis_prefix=WS_REDIS_PREFIX,
    bus_name=env.word("WS_BUS_NAME", "workflow_events"),
    bus_inputs=env.choices("WS_BUS_INPUTS", ("stream", "pubsub"), ("stream", "pubsub")),
    bus_events=env.integer("WS_BUS_MAX_EVENTS", 100_000, 1_000, 100_000_000),
    delivery_interval_ms=env.integer("WS_DELIVERY_INTERVAL_MS", 0, 0, 500),
    auth_tokens=_tokens,
    jwt=_jwt,
    # Who sets a token, or a key for tokens, wants them asked for. Production asks unless it is told outright not to.
    require_auth=env.flag("WS_REQUIRE_AUTH", default=PRODUCTION or bool(_tokens) or _jwt.enabled),
    # Any page may connect while developing. In production, pages of the server's own origin, and those named here.
    allowed_origins=env.origins("WS_CORS_ALLOWED_ORIGINS", () if PRODUCTION else ("*",)),
    ping_interval_ms=env.integer("WS_PING_INTERVAL_MS", 25_000, 100, 3_600_000),
    ping_timeout_ms=env.integer("WS_PING_TIMEOUT_MS", 20_000, 100, 3_600_000),
    max_payload_bytes=_max_payload_bytes,
    # Whoever develops wants an end at once.
    drain_s=env.number("WS_DRAIN_S", 20.0 if PRODUCTION else 0.0, 0.0, 3_600.0),
    demo=env.flag("DEMO", default=False),
    demo_rate=env.number("DEMO_RATE", 5.0, 0.1, 10_000.0),
    event=EventLimits(
        max_bytes=env.integer("WS_MAX_EVENT_BYTES", 1_000_000, 256, 100_000_000),
        max_id_length=_max_id_length,
    ),
    history=HistoryLimits(
        recent_events=env.integer("WS_MAX_RECENT_EVENTS", 100, 1, 10_000),
        recent_ttl_s=env.integer("WS_RECENT_TTL_S", 86_400, 1, 31_536_000),
        journal_events=env.integer("WS_JOURNAL_MAX_EVENTS", 100_000, 100, 100_000_000),
        journal_age_s=env.integer("WS_JOURNAL_MAX_AGE_S", 86_400, 1, 31_536_000),
        offset_ttl_s=env.integer("WS_OFFSET_TTL_S", 2_592_000, 1, 315_360_000),
        dead_letters=env.integer("WS_MAX_DEAD_LETTERS", 10_000, 1, 10_000_000),
        dead_letter_bytes=env.integer("WS_DEAD_LETTER_BYTES", 67_108_864, 65_536, 10_737_418_240),
        executions=env.integer("WS_MAX_EXECUTIONS", 10_000, 1, 10_000_000),
        executions_per_topic=env.integer("WS_MAX_TOPIC_EXECUTIONS", 200, 1, 10_000),
        execution_ttl_s=env.integer("WS_EXECUTION_TTL_S", 86_400, 1, 31_536_000),
    ),
    session=SessionLimits(
        buffer_bytes=env.integer("WS_CLIENT_BUFFER_BYTES", 1_048_576, 16_384, 1_073_741_824),
        drain_deadline_s=env.number("WS_SLOW_CLIENT_DEADLINE_S", 30.0, 0.1, 3_600.0),
        subscriptions=env.integer("WS_MAX_SUBSCRIPTIONS", 1_000, 1, 1_000_000),
        id_length=_max_id_length,
        messages_per_s=env.number("WS_CLIENT_MESSAGES_PER_S", 100.0, 1.0, 100_000.0),
    ),
    access=AccessLimits(
        connections=env.integer("WS_MAX_CONNECTIONS", 20_000, 1, 1_000_000),
        per_address=env.integer("WS_MAX_CONNECTIONS_PER_ADDRESS", 1_000, 1, 1_000_000),
        new_per_s=env.number("WS_NEW_CONNECTIONS_PER_S", 250.0, 1.0, 100_000.0),
        per_token=env.integer("WS_MAX_CONNECTIONS_PER_TOKEN", 10_000, 1, 1_000_000),
        head_bytes=env.integer("WS_MAX_HEADER_BYTES", 16_384, 1_024, 1_048_576),
        request_s=env.number("WS_REQUEST_TIMEOUT_S", 30.0, 0.5, 3_600.0),
        auth_s=env.number("WS_AUTH_TIMEOUT_S", 60.0, 0.5, 3_600.0),
        auth_failures=env.integer("WS_MAX_AUTH_FAILURES", 10, 1, 1_000_000),
        publish_per_s=env.number("WS_PUBLISH_EVENTS_PER_S", 5_000.0, 1.0, 100_000.0),
        requests_per_address=env.integer("WS_MAX_REQUESTS_PER_ADDRESS", 8, 1, 1_000_000),
    ),
    tracing=TracingConfig(
        endpoint=env.web_address("OTEL_EXPORTER_OTLP_ENDPOINT"),
        headers=env.secret("OTEL_EXPORTER_OTLP_HEADERS"),
        service=env.text("OTEL_SERVICE_NAME", "wsserver"),
        share=env.number("OTEL_TRACES_SAMPLER_ARG", 0.01, 0.0, 1.0),
    ),
    trusted_proxies=_trusted_proxies if WS_PROXY_HEADERS else None,
)

# The protocol refuses what is too large and says why; daphne cuts the connection. So daphne's bound is the wider one.
DAPHNE_WEBSOCKET_MAX_FRAME_SIZE = DAPHNE_WEBSOCKET_MAX_MESSAGE_SIZE = _max_payload_bytes + 65_536

#: A list of events in one request. Forms have Django's bound, 2.5 MB: to read one takes several times as much memory.
MAX_EVENTS_BYTES = 10_485_760

#: The largest body of any request; what it is for may take less.
MAX_BODY_BYTES = max(MAX_EVENTS_BYTES, _max_payload_bytes, EVENTS.event.max_bytes)

# -- applications ------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "daphne",  # before staticfiles, so that `runserver` serves sockets too
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "csp",
    "drf_spectacular_sidecar",  # the documentation page's scripts, so that it loads nothing from elsewhere
    "events",
    "events.access",
    "monitoring",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "wsproject.urls"
ASGI_APPLICATION = "wsproject.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# -- the channel layer: from the relay to every server process ---------------------------------------------------------

_memory_layer: dict[str, Any] = {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 1_000}}

_redis_layer: dict[str, Any] = {
    "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
    "CONFIG": {
        "prefix": WS_REDIS_PREFIX,
        # A Redis that went away without a word is noticed within seconds instead of when TCP gives up.
        "hosts": [{"address": REDIS_URL, "socket_connect_timeout": 5, "socket_timeout": 10, "health_check_interval": 10}],
    },
}

CHANNEL_LAYERS = {"default": _redis_layer if REDIS_URL else _memory_layer}

# -- database: users and sessions of the admin; events never touch it --------------------------------------------------

DATABASES = {"default": env.database("DATABASE_URL", BASE_DIR / "db.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Several processes may share the file: readers do not wait for a writer, and writers queue instead of failing.
    DATABASES["default"].setdefault("OPTIONS", {}).update(
        timeout=10,
        transaction_mode="IMMEDIATE",
        init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    )

# -- static files ------------------------------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"

#: The browser's Socket.IO client, as its package ships it; `{% static "vendor/socket.io-client/socket.io.min.js" %}`.
SOCKET_IO_CLIENT: Final = BASE_DIR / "node_modules" / "socket.io-client" / "dist"

#: Packages whose files pages load, each served under `vendor/<name>/`.
BROWSER_PACKAGES: Final = {
    "socket.io-client": SOCKET_IO_CLIENT,
    "uplot": BASE_DIR / "node_modules" / "uplot" / "dist",  # charts
    "workflow-events": BASE_DIR / "clients" / "js" / "src",  # our own client
}

STATICFILES_DIRS: list[Path | tuple[str, Path]] = [BASE_DIR / "static"]
STATICFILES_DIRS += [(f"vendor/{name}", folder) for name, folder in BROWSER_PACKAGES.items() if folder.is_dir()]

# `wsproject/static_files.py` serves them. Development serves files from where they are, so a change shows at once. Production
# serves collected, compressed files whose names carry their content's hash, and caches them for good.
WHITENOISE_AUTOREFRESH = WHITENOISE_USE_FINDERS = not PRODUCTION
_static_storage = "whitenoise.storage.CompressedManifestStaticFilesStorage"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": _static_storage if PRODUCTION else "django.contrib.staticfiles.storage.StaticFilesStorage",
    },
}

# -- HTTP API ----------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Workflow WebSocket Server",
    "DESCRIPTION": "Carries the events of workflow executions to dashboards. Sockets are served beside this API.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "monitoring.documentation.describe_the_door",
    ],
    "ENUM_NAME_OVERRIDES": {"EmergencyState": "events.ports.EMERGENCY_STATES"},
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# -- security ----------------------------------------------------------------------------------------------------------

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LOGIN_REDIRECT_URL = "admin:index"
CSRF_TRUSTED_ORIGINS = list(env.origins("CSRF_TRUSTED_ORIGINS"))
# Over plain HTTP browsers drop secure cookies, and nobody can log in to the admin.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.flag("SECURE_COOKIES", default=PRODUCTION)

# TLS ends at the proxy, which says so. Health checks come as plain HTTP, so a redirect has to be asked for.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if WS_PROXY_HEADERS else None
SECURE_SSL_REDIRECT = env.flag("SECURE_SSL_REDIRECT", default=False)
SECURE_REDIRECT_EXEMPT = [r"^(health|metrics|status)/?$"]
SECURE_HSTS_SECONDS = env.integer("SECURE_HSTS_SECONDS", 2_592_000 if PRODUCTION else 0, 0, 63_072_000)

SILENCED_SYSTEM_CHECKS = [
    # These three decide about more than this server: other names of the domain (W005, W021), and publishers and health
    # checks inside of the network, which speak plain HTTP (W008).
    "security.W005",
    "security.W008",
    "security.W021",
]

DEFAULT_EXCEPTION_REPORTER_FILTER = "wsproject.debug_pages.ReporterFilter"

#: Pages run scripts and styles from files of this server, and nothing else: no inline code, no other hosts.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [csp.SELF],
        "img-src": [csp.SELF, "data:"],
        "object-src": [csp.NONE],
        "base-uri": [csp.NONE],
        "form-action": [csp.SELF],
        "frame-ancestors": [csp.NONE],
    }
}

# -- language, time, logs ----------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True

LOGGING_CONFIG = "wsproject.logs.configure"
LOGGING = logging_config(
    output=env.choice("LOG_FORMAT", "json" if PRODUCTION else "console", ("json", "console")),
    level=env.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
)

#: Variables that look like ours and that nothing read, each with the name that was probably meant.
UNKNOWN_VARIABLES = env.unknown("WS_")
