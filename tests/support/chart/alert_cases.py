"""The series for which each alert fires, and those for which it does not."""

from __future__ import annotations

from dataclasses import dataclass, field

from .manifests import NAMESPACE, RELEASE

TARGET = {"namespace": NAMESPACE, "service": f"{RELEASE}-metrics"}
REQUESTS = "rpc_server_call_duration_seconds"
GET = {"rpc_method": "contact.v1.ContactService/GetContact"}
CHECK = {"rpc_method": "contact.v1.ContactService/CheckPhonePassword"}


def series(name: str, values: str, pod: str = "a", **labels: str) -> tuple[str, str]:
    """Returns a series of one instance in promtool's notation, with a value per minute."""
    written = ", ".join(
        f'{key}="{value}"' for key, value in (TARGET | {"pod": pod} | labels).items()
    )
    return f"{name}{{{written}}}", values


def buckets(name: str, counts: dict[str, str], **labels: str) -> list[tuple[str, str]]:
    return [series(f"{name}_bucket", values, le=le, **labels) for le, values in counts.items()]


@dataclass
class Case:
    """Series for which an alert fires, and series for which it does not.

    It fires at a time with these labels and this description.
    """

    alert: str
    at: str
    fires: list[list[tuple[str, str]]]
    quiet: list[list[tuple[str, str]]]
    labels: dict[str, str] = field(default_factory=dict)
    description: str = ""


SLOW = {"0.5": "0+90x40", "1": "0+100x40", "+Inf": "0+100x40"}
FAST = {"0.5": "0+100x40", "1": "0+100x40", "+Inf": "0+100x40"}
WAITS = {"0.25": "0+90x40", "0.5": "0+100x40", "+Inf": "0+100x40"}
NO_WAITS = {"0.25": "0+100x40", "0.5": "0+100x40", "+Inf": "0+100x40"}
POOL = {"db_client_connection_pool_name": "writers"}
INSTANCE = TARGET | {"pod": "a"}


def rejected(rejections: str, answers: str) -> list[tuple[str, str]]:
    return [
        series(f"{REQUESTS}_count", rejections, **GET, rpc_response_status_code="UNAUTHENTICATED"),
        series(f"{REQUESTS}_count", answers, **GET, rpc_response_status_code="OK"),
    ]


def key_ages(ages: str, limits: str) -> list[tuple[str, str]]:
    return [
        series("contact_token_keys_age_seconds", ages),
        series("contact_token_keys_max_stale_seconds", limits),
    ]


CASES = [
    Case(
        "ContactServiceUnavailable",
        "5m",
        fires=[[], [series("contact_ready", "0x9"), series("contact_ready", "0x9", "b")]],
        quiet=[[series("contact_ready", "0x9"), series("contact_ready", "1x9", "b")]],
        description="Clients get UNAVAILABLE. No pod is running or none is ready; "
        "contact_not_ready names the cause, such as a database that rejects writes.",
    ),
    Case(
        "ContactServiceInstanceNotReady",
        "15m",
        fires=[[series("contact_ready", "0x20"), series("contact_ready", "1x20", "b")]],
        quiet=[[series("contact_ready", "0x8 1x20")]],
        labels=INSTANCE,
        description="Pod a has not been ready for 10 minutes; contact_not_ready names the cause.",
    ),
    Case(
        "ContactServiceRequestsFail",
        "15m",
        fires=[
            [
                series("contact_request_errors_total", "0+6x20", reason=reason),
                series(f"{REQUESTS}_count", "0+60x20", **GET),
            ]
            for reason in (
                "OVERLOADED",
                "DATABASE_UNAVAILABLE",
                "TOKEN_KEYS_UNAVAILABLE",
                "DEADLINE",
                "INTERNAL",
                "DATA_LOSS",
            )
        ],
        quiet=[
            [
                series("contact_request_errors_total", "0+2x20", reason="OVERLOADED"),
                series(f"{REQUESTS}_count", "0+60x20", **GET),
            ],
            [
                series("contact_request_errors_total", "0+60x20", reason="INVALID_FIELD"),
                series(f"{REQUESTS}_count", "0+60x20", **GET),
            ],
            [
                series("contact_request_errors_total", "0x20", reason="INTERNAL"),
                series(f"{REQUESTS}_count", "0x20"),
            ],
        ],
        description="10% of the requests failed within 5 minutes.",
    ),
    Case(
        "ContactServiceInternalErrors",
        "8m",
        fires=[[series("contact_request_errors_total", "0x5 1x20", reason="INTERNAL")]],
        quiet=[
            [series("contact_request_errors_total", "5x20", reason="INTERNAL")],
            [series("contact_request_errors_total", "0+9x20", reason="OVERLOADED")],
        ],
        labels={"reason": "INTERNAL"},
        description="Requests failed with INTERNAL: a bug, "
        "or corrupt data.",
    ),
    Case(
        "ContactServiceDatabaseUnavailable",
        "9m",
        fires=[[series("contact_request_errors_total", "0+60x20", reason="DATABASE_UNAVAILABLE")]],
        # A failover: errors for some seconds around two scrapes.
        quiet=[
            [series("contact_request_errors_total", "0x4 50 90x20", reason="DATABASE_UNAVAILABLE")]
        ],
        description="1 requests per second have failed for 5 minutes, longer than a failover takes.",
    ),
    Case(
        "ContactServiceOverloaded",
        "20m",
        fires=[[series("contact_request_errors_total", "0+60x30", reason="OVERLOADED")]],
        quiet=[[series("contact_request_errors_total", "0x9 50 90x30", reason="OVERLOADED")]],
        description="1 requests per second are rejected with OVERLOADED.",
    ),
    Case(
        "ContactServiceSlow",
        "20m",
        fires=[buckets(REQUESTS, SLOW, **GET)],
        quiet=[
            buckets(REQUESTS, FAST, **GET),
            buckets(REQUESTS, FAST, **GET) + buckets(REQUESTS, SLOW, **CHECK),
        ],
        description="1 % of the requests take longer than 950ms; "
        "passwords and streams are excluded.",
    ),
    Case(
        "ContactServiceRequestsPileUp",
        "10m",
        fires=[[series("contact_requests_in_flight", "900x20")]],
        quiet=[
            [
                series("contact_requests_in_flight", "700x20"),
                series("contact_requests_in_flight", "700x20", "b"),
            ]
        ],
        labels=INSTANCE,
        description="Pod a has 900 requests in flight; the maximum is 1,024.",
    ),
    Case(
        "ContactServiceClientLimits",
        "25m",
        fires=[[series("contact_limit_hits_total", "0+120x40", limit="page_connections")]],
        quiet=[
            # A burst that ends.
            [series("contact_limit_hits_total", "0x5 900x40", limit="page_connections")],
            # Each limit is counted separately.
            [
                series("contact_limit_hits_total", "0+50x40", limit="requests"),
                series("contact_limit_hits_total", "0+50x40", limit="client_requests"),
            ],
        ],
        labels={"limit": "page_connections"},
        description="The limit page_connections was reached 2 times per second for 10 minutes.",
    ),
    Case(
        "ContactServiceConnectionWait",
        "20m",
        fires=[buckets("db_client_connection_wait_time_seconds", WAITS, **POOL)],
        quiet=[buckets("db_client_connection_wait_time_seconds", NO_WAITS, **POOL)],
        labels=POOL,
        description="5 % of the transactions wait longer than 375ms in the pool writers.",
    ),
    Case(
        "ContactServiceMailsStuck",
        "30m",
        fires=[
            [
                series("contact_outbox_oldest_age_seconds", "1000x40"),
                series("contact_outbox_oldest_age_seconds", "1000x40", "b"),
                series("contact_mails_total", "5x40", outcome="sent"),
                series("contact_mails_total", "0+1x40", outcome="deferred"),
            ]
        ],
        quiet=[
            # The server of one recipient is down; other e-mails are sent.
            [
                series("contact_outbox_oldest_age_seconds", "1000x40"),
                series("contact_mails_total", "5+1x40", outcome="sent"),
            ],
            [
                series("contact_outbox_oldest_age_seconds", "600x40"),
                series("contact_mails_total", "5x40", outcome="sent"),
            ],
        ],
        description="The oldest e-mail has waited for 16m 40s, and none was sent within 15 minutes.",
    ),
    Case(
        "ContactServiceOutboxGrows",
        "45m",
        fires=[
            [
                series("contact_outbox_mails", "2000x60", state="waiting"),
                series("contact_outbox_mails", "2000x60", "b", state="waiting"),
            ]
        ],
        quiet=[
            # Every instance counts the same e-mails.
            [
                series("contact_outbox_mails", "600x60", state="waiting"),
                series("contact_outbox_mails", "600x60", "b", state="waiting"),
            ],
            [series("contact_outbox_mails", "2000x60", state="dead")],
        ],
        description="2000 e-mails wait.",
    ),
    Case(
        "ContactServiceMailsDeadLettered",
        "80m",
        fires=[[series("contact_mails_total", "0+1x90", outcome="dead_lettered")]],
        quiet=[
            [series("contact_mails_total", "0x30 10x60", outcome="dead_lettered")],
            [series("contact_mails_total", "0+9x90", outcome="sent")],
        ],
        description="60 e-mails were dead-lettered within an hour.",
    ),
    Case(
        "ContactServiceMailsRejected",
        "150m",
        fires=[[series("contact_mail_rejections_total", "0x100 1x60", **{"class": "policy"})]],
        quiet=[
            # Mistyped addresses, greylisting and an unreachable server have their own alerts.
            [series("contact_mail_rejections_total", "0+9x160", **{"class": name})]
            for name in ("mailbox", "temporary", "connection")
        ]
        + [[series("contact_mail_rejections_total", "0x160", **{"class": "policy"})]],
        labels={"class": "policy"},
        description="1 attempts within 2 hours failed with the class policy. "
        "No address was marked; the e-mails are retried for 12 hours.",
    ),
    Case(
        "ContactServiceMailLimits",
        "80m",
        fires=[[series("contact_limit_hits_total", "0+1x90", limit="mails_per_address")]],
        quiet=[
            [series("contact_limit_hits_total", "0x30 10x60", limit="mails_per_address")],
            [series("contact_limit_hits_total", "0+9x90", limit="client_requests")],
        ],
        labels={"limit": "mails_per_address"},
        description="60 requests within an hour were rejected by the limit mails_per_address: "
        "someone may be flooding a mailbox.",
    ),
    Case(
        "ContactServiceAgentGuesses",
        "10m",
        # Every instance counts the same contacts.
        fires=[
            [
                series("contact_phone_password_failed_contacts", "9x20", scope="agent"),
                series("contact_phone_password_failed_contacts", "9x20", "b", scope="agent"),
            ]
        ],
        quiet=[
            [
                series("contact_phone_password_failed_contacts", "8x20", scope="agent"),
                series("contact_phone_password_failed_contacts", "8x20", "b", scope="agent"),
            ],
            [series("contact_phone_password_failed_contacts", "90x20", scope="all")],
        ],
        description="Checks by one agent failed for 9 contacts within an hour, "
        "without a match since.",
    ),
    Case(
        "ContactServiceGuessesSpread",
        "30h",
        fires=[[series("contact_phone_password_failed_contacts", "10x1790 31x20", scope="all")]],
        quiet=[
            # As on every day, and few in total.
            [series("contact_phone_password_failed_contacts", "25x1810", scope="all")],
            [series("contact_phone_password_failed_contacts", "1x1790 20x20", scope="all")],
        ],
        description="Checks failed for 31 contacts within an hour, without a match since: "
        "far more than the average of the last day.",
    ),
    Case(
        "ContactServiceCustomerSearches",
        "30h",
        # 60 an hour, then 360.
        fires=[
            [series("contact_customer_searches_total", "0+1x1740 1746+6x60", result="not_found")]
        ],
        quiet=[
            # As on every day, and few in total.
            [series("contact_customer_searches_total", "0+6x1800", result="found")],
            [series("contact_customer_searches_total", "0x1740 3+3x60", result="found")],
        ],
        description="360 searches by phone number or e-mail address within an hour: far more than "
        "the average of the last day.",
    ),
    Case(
        "ContactServiceDeliveryFailures",
        "10m",
        fires=[[series("contact_delivery_failure_burst", "1x20")]],
        quiet=[[series("contact_delivery_failure_burst", "0x20")]],
        description="More than 5 % of the reports of ten minutes are permanent failures, "
        "so no further address is marked.",
    ),
    Case(
        "ContactServicePhonePasswordLocks",
        "80m",
        fires=[[series("contact_phone_password_locks_total", "0+1x90")]],
        quiet=[[series("contact_phone_password_locks_total", "0x30 10x60")]],
        description="60 locks within an hour: someone may be guessing phone passwords.",
    ),
    Case(
        "ContactServicePepperMissing",
        "10m",
        fires=[
            [
                series("contact_missing_pepper_versions", "1x20"),
                series("contact_missing_pepper_versions", "0x20", "b"),
            ]
        ],
        # A pod that started before the version was added, and is being replaced.
        quiet=[[series("contact_missing_pepper_versions", "0x7 1 1 0x10")]],
        labels=INSTANCE,
        description="Pod a lacks 1 pepper version(s), so it is not ready.",
    ),
    Case(
        "ContactServiceDatabaseNodeUnreachable",
        "10m",
        fires=[
            [
                series("contact_database_nodes_unreachable", "1x20"),
                series("contact_database_nodes_unreachable", "0x20", "b"),
            ]
        ],
        quiet=[[series("contact_database_nodes_unreachable", "0x5 1 1 0x10")]],
        description="1 node(s) do not answer: requests about the customers on them fail, "
        "and e-mails and the change feed wait.",
    ),
    Case(
        "ContactServiceAgentBlocked",
        "10m",
        fires=[
            [series("contact_phone_password_checks_total", "0x5 1x20", verdict="agent_blocked")]
        ],
        quiet=[[series("contact_phone_password_checks_total", "0+9x20", verdict="no_match")]],
        description="One agent entered 20 wrong phone passwords within an hour "
        "and keeps trying.",
    ),
    Case(
        "ContactServiceTokensRejected",
        "25m",
        fires=[rejected("0+60x40", "0+20x40")],
        quiet=[rejected("0+20x40", "0+60x40"), rejected("0x40", "0x40")],
        description="75% of the requests failed with UNAUTHENTICATED.",
    ),
    Case(
        "ContactServiceTokenKeysStale",
        "30m",
        fires=[[series("contact_token_keys_age_seconds", "4000x40"), *rejected("0x40", "0+60x40")]],
        quiet=[
            # Keys are refreshed when a request has a token, not earlier.
            [series("contact_token_keys_age_seconds", "4000x40"), *rejected("0+60x40", "0x40")],
            [series("contact_token_keys_age_seconds", "700x40"), *rejected("0x40", "0+60x40")],
        ],
        labels=INSTANCE,
        description="Pod a fetched them 1h 6m 40s ago; removed keys are still accepted, "
        "and new ones are not.",
    ),
    Case(
        "ContactServiceTokenKeysExpire",
        "30m",
        fires=[[*key_ages("46656x40", "86400x40"), *rejected("0x40", "0+60x40")]],
        quiet=[
            [*key_ages("40000x40", "86400x40"), *rejected("0x40", "0+60x40")],
            [*key_ages("46656x40", "86400x40"), *rejected("0+60x40", "0x40")],
            # Development keys never change.
            [*key_ages("0x40", "0x40"), *rejected("0x40", "0+60x40")],
        ],
        labels=INSTANCE,
        description="Pod a has used 54% of the time for which it may use stale keys "
        "(JWT_JWKS_MAX_STALE).",
    ),
    Case(
        "ContactServiceCertificateExpires",
        "20m",
        # promtool's time begins at 0.
        fires=[[series("contact_tls_certificate_expiry_timestamp_seconds", "865200x40")]],
        quiet=[[series("contact_tls_certificate_expiry_timestamp_seconds", "1814400x40")]],
        labels=INSTANCE,
        description="The certificate of pod a expires in 10.0 days; "
        "then clients reject all connections.",
    ),
    Case(
        "ContactServiceLogLinesDropped",
        "20m",
        fires=[[series("contact_log_lines_dropped_total", "0x10 30x20")]],
        quiet=[[series("contact_log_lines_dropped_total", "30x30")]],
        labels=INSTANCE,
        description="Pod a dropped 30 lines within 15 minutes: "
        "its standard error is not read fast enough.",
    ),
    Case(
        "ContactServiceVersionsMixed",
        "80m",
        fires=[
            [
                series("contact_build_info", "1x90", version="0.1.0"),
                series("contact_build_info", "1x90", "b", version="0.2.0"),
            ]
        ],
        quiet=[
            [
                series("contact_build_info", "1x90", version="0.1.0"),
                series("contact_build_info", "1x90", "b", version="0.1.0"),
            ]
        ],
        description="2 versions have run in parallel for an hour: an update did not finish.",
    ),
]
