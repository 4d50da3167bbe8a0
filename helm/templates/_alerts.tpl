{{/*
The alerts; each has a runbook of the same name. Expressions select series by `$release`, and take
the max of gauges that every pod reads from the database, which are equal in all of them.
*/}}

{{- define "contact-service.alerts" -}}
{{- $limit := .Values.metrics.prometheusRule.thresholds -}}
{{- $ours := printf "namespace=%q, service=%q" .Release.Namespace (printf "%s-metrics" (include "contact-service.fullname" .)) -}}
{{- $release := default $ours .Values.metrics.prometheusRule.selector -}}
- alert: ContactServiceUnavailable
  expr: (max(contact_ready{ {{- $release -}} }) or vector(0)) == 0
  for: 1m
  labels: {severity: critical}
  annotations:
    summary: No instance of the contact service is ready.
    description: Clients get UNAVAILABLE. No pod is running or none is ready; contact_not_ready names the cause, such as a database that rejects writes.
- alert: ContactServiceInstanceNotReady
  expr: contact_ready{ {{- $release -}} } == 0
  for: 10m
  labels: {severity: warning}
  annotations:
    summary: An instance of the contact service is not ready.
    description: {{ `Pod {{ $labels.pod }} has not been ready for 10 minutes; contact_not_ready names the cause.` | quote }}
- alert: ContactServiceRequestsFail
  expr: |-
    sum(rate(contact_request_errors_total{ {{- $release }}, reason=~"DATABASE_UNAVAILABLE|TOKEN_KEYS_UNAVAILABLE|OVERLOADED|DEADLINE|INTERNAL|DATA_LOSS"}[5m]))
      / sum(rate(rpc_server_call_duration_seconds_count{ {{- $release -}} }[5m])) > {{ $limit.errorRatio }}
  for: 5m
  labels: {severity: critical}
  annotations:
    summary: Requests to the contact service fail for server-side reasons.
    description: {{ `{{ $value | humanizePercentage }} of the requests failed within 5 minutes.` | quote }}
- alert: ContactServiceInternalErrors
  expr: sum by (reason) (increase(contact_request_errors_total{ {{- $release }}, reason=~"INTERNAL|DATA_LOSS"}[15m])) > 0
  labels: {severity: warning}
  annotations:
    summary: The contact service had an internal error.
    description: {{ `Requests failed with {{ $labels.reason }}: a bug, or corrupt data.` | quote }}
- alert: ContactServiceDatabaseUnavailable
  expr: sum(rate(contact_request_errors_total{ {{- $release }}, reason="DATABASE_UNAVAILABLE"}[2m])) > 0
  for: 5m
  labels: {severity: critical}
  annotations:
    summary: The contact service cannot reach its database.
    description: {{ `{{ $value | humanize }} requests per second have failed for 5 minutes, longer than a failover takes.` | quote }}
- alert: ContactServiceOverloaded
  expr: sum(rate(contact_request_errors_total{ {{- $release }}, reason="OVERLOADED"}[5m])) > 0
  for: 10m
  labels: {severity: warning}
  annotations:
    summary: The contact service sheds load.
    description: {{ `{{ $value | humanize }} requests per second are rejected with OVERLOADED.` | quote }}
- alert: ContactServiceSlow
  expr: |-
    histogram_quantile(0.99, sum by (le) (rate(rpc_server_call_duration_seconds_bucket{ {{- $release }}, rpc_method!~"contact.v1.ContactService/(StreamRecipients|CreateContact|SetPhonePassword|CheckPhonePassword)"}[5m]))) > {{ $limit.latencySeconds }}
  for: 10m
  labels: {severity: warning}
  annotations:
    summary: The contact service is slow.
    description: {{ `1 % of the requests take longer than {{ $value | humanizeDuration }}; passwords and streams are excluded.` | quote }}
- alert: ContactServiceRequestsPileUp
  expr: contact_requests_in_flight{ {{- $release -}} } > {{ $limit.requestsInFlight }}
  for: 5m
  labels: {severity: warning}
  annotations:
    summary: An instance of the contact service is about to shed load.
    description: {{ `Pod {{ $labels.pod }} has {{ $value }} requests in flight; the maximum is 1,024.` | quote }}
- alert: ContactServiceClientLimits
  expr: sum by (limit) (rate(contact_limit_hits_total{ {{- $release -}} }[5m])) > {{ $limit.limitHits }}
  for: 10m
  labels: {severity: warning}
  annotations:
    summary: Clients of the contact service keep reaching a limit.
    description: {{ `The limit {{ $labels.limit }} was reached {{ $value | humanize }} times per second for 10 minutes.` | quote }}
- alert: ContactServiceConnectionWait
  expr: |-
    histogram_quantile(0.95, sum by (le, db_client_connection_pool_name) (rate(db_client_connection_wait_time_seconds_bucket{ {{- $release -}} }[5m]))) > {{ $limit.connectionWaitSeconds }}
  for: 10m
  labels: {severity: warning}
  annotations:
    summary: Transactions of the contact service wait for a connection.
    description: {{ `5 % of the transactions wait longer than {{ $value | humanizeDuration }} in the pool {{ $labels.db_client_connection_pool_name }}.` | quote }}
- alert: ContactServiceMailsStuck
  expr: |-
    max(contact_outbox_oldest_age_seconds{ {{- $release -}} }) > {{ $limit.mailAgeSeconds }}
      and sum(increase(contact_mails_total{ {{- $release }}, outcome="sent"}[15m])) == 0
  for: 5m
  labels: {severity: critical}
  annotations:
    summary: The contact service sends no e-mails.
    description: {{ `The oldest e-mail has waited for {{ $value | humanizeDuration }}, and none was sent within 15 minutes.` | quote }}
- alert: ContactServiceOutboxGrows
  expr: max(contact_outbox_mails{ {{- $release }}, state="waiting"}) > {{ $limit.mailsWaiting }}
  for: 30m
  labels: {severity: warning}
  annotations:
    summary: The contact service queues e-mails faster than it sends them.
    description: {{ `{{ $value }} e-mails wait.` | quote }}
- alert: ContactServiceMailsDeadLettered
  expr: sum(increase(contact_mails_total{ {{- $release }}, outcome="dead_lettered"}[1h])) > {{ $limit.mailsDeadLettered }}
  labels: {severity: warning}
  annotations:
    summary: E-mails of the contact service were dead-lettered.
    description: {{ `{{ $value | humanize }} e-mails were dead-lettered within an hour.` | quote }}
- alert: ContactServiceMailsRejected
  expr: sum by (class) (increase(contact_mail_rejections_total{ {{- $release }}, class!~"mailbox|temporary|connection"}[2h])) > {{ $limit.mailsRejected }}
  labels: {severity: warning}
  annotations:
    summary: The mail server rejects e-mails of the contact service for reasons other than the mailbox.
    description: {{ `{{ $value | humanize }} attempts within 2 hours failed with the class {{ $labels.class }}. No address was marked; the e-mails are retried for 12 hours.` | quote }}
- alert: ContactServiceMailLimits
  expr: sum by (limit) (increase(contact_limit_hits_total{ {{- $release }}, limit=~"mails_per_address|mails_per_customer"}[1h])) > {{ $limit.mailLimitHits }}
  labels: {severity: warning}
  annotations:
    summary: Confirmation e-mails of the contact service reach a rate limit.
    description: {{ `{{ $value | humanize }} requests within an hour were rejected by the limit {{ $labels.limit }}: someone may be flooding a mailbox.` | quote }}
- alert: ContactServiceAgentGuesses
  expr: max(contact_phone_password_failed_contacts{ {{- $release }}, scope="agent"}) > {{ $limit.failedContactsOfAgent }}
  for: 1m
  labels: {severity: warning}
  annotations:
    summary: A call center agent fails phone password checks of many contacts.
    description: {{ `Checks by one agent failed for {{ $value }} contacts within an hour, without a match since.` | quote }}
- alert: ContactServiceGuessesSpread
  expr: |-
    max(contact_phone_password_failed_contacts{ {{- $release }}, scope="all"}) > {{ $limit.failedContacts }}
      and max(contact_phone_password_failed_contacts{ {{- $release }}, scope="all"})
        > {{ $limit.failedContactsRatio }} * avg_over_time(max(contact_phone_password_failed_contacts{ {{- $release }}, scope="all"})[1d:5m] offset 1h)
  for: 1m
  labels: {severity: warning}
  annotations:
    summary: Phone password checks fail for more contacts than usual.
    description: {{ `Checks failed for {{ $value }} contacts within an hour, without a match since: far more than the average of the last day.` | quote }}
- alert: ContactServiceCustomerSearches
  expr: |-
    sum(increase(contact_customer_searches_total{ {{- $release -}} }[1h])) > {{ $limit.customerSearches }}
      and sum(increase(contact_customer_searches_total{ {{- $release -}} }[1h]))
        > {{ $limit.customerSearchesRatio }} * sum(increase(contact_customer_searches_total{ {{- $release -}} }[1d] offset 1h)) / 24
  labels: {severity: warning}
  annotations:
    summary: Agents search for far more customers than usual.
    description: {{ `{{ $value | humanize }} searches by phone number or e-mail address within an hour: far more than the average of the last day.` | quote }}
- alert: ContactServiceDeliveryFailures
  expr: |-
    max(contact_delivery_failure_burst{ {{- $release -}} }) > 0
      or sum(increase(contact_delivery_reports_total{ {{- $release }}, result="held"}[10m])) > 0
  for: 1m
  labels: {severity: warning}
  annotations:
    summary: Unusually many reported deliveries fail.
    description: More than 5 % of the reports of ten minutes are permanent failures, so no further address is marked.
- alert: ContactServicePhonePasswordLocks
  expr: sum(increase(contact_phone_password_locks_total{ {{- $release -}} }[1h])) > {{ $limit.phonePasswordLocks }}
  labels: {severity: warning}
  annotations:
    summary: Many phone passwords are locked.
    description: {{ `{{ $value | humanize }} locks within an hour: someone may be guessing phone passwords.` | quote }}
- alert: ContactServicePepperMissing
  expr: contact_missing_pepper_versions{ {{- $release -}} } > 0
  for: 2m
  labels: {severity: critical}
  annotations:
    summary: An instance of the contact service lacks a pepper of stored phone passwords.
    description: {{ `Pod {{ $labels.pod }} lacks {{ $value }} pepper version(s), so it is not ready.` | quote }}
- alert: ContactServiceDatabaseNodeUnreachable
  expr: max(contact_database_nodes_unreachable{ {{- $release -}} }) > 0
  for: 1m
  labels: {severity: critical}
  annotations:
    summary: A node of the contact service's database is unreachable.
    description: {{ `{{ $value }} node(s) do not answer: requests about the customers on them fail, and e-mails and the change feed wait.` | quote }}
- alert: ContactServiceAgentBlocked
  expr: sum(increase(contact_phone_password_checks_total{ {{- $release }}, verdict="agent_blocked"}[15m])) > 0
  labels: {severity: warning}
  annotations:
    summary: A call center agent is blocked.
    description: One agent entered 20 wrong phone passwords within an hour and keeps trying.
- alert: ContactServiceTokensRejected
  expr: |-
    sum(rate(rpc_server_call_duration_seconds_count{ {{- $release }}, rpc_response_status_code="UNAUTHENTICATED"}[5m]))
      / sum(rate(rpc_server_call_duration_seconds_count{ {{- $release -}} }[5m])) > {{ $limit.rejectedTokenRatio }}
  for: 10m
  labels: {severity: warning}
  annotations:
    summary: The contact service rejects its clients' tokens.
    description: {{ `{{ $value | humanizePercentage }} of the requests failed with UNAUTHENTICATED.` | quote }}
- alert: ContactServiceTokenKeysStale
  expr: |-
    contact_token_keys_age_seconds{ {{- $release -}} } > {{ $limit.tokenKeysAgeSeconds }}
      and on (namespace, service, pod)
        sum by (namespace, service, pod) (rate(rpc_server_call_duration_seconds_count{ {{- $release }}, rpc_response_status_code!="UNAUTHENTICATED"}[15m])) > 0
  for: 5m
  labels: {severity: warning}
  annotations:
    summary: The contact service cannot fetch the token keys.
    description: {{ `Pod {{ $labels.pod }} fetched them {{ $value | humanizeDuration }} ago; removed keys are still accepted, and new ones are not.` | quote }}
- alert: ContactServiceTokenKeysExpire
  expr: |-
    contact_token_keys_age_seconds{ {{- $release -}} } / contact_token_keys_max_stale_seconds{ {{- $release -}} } > 0.5
      and on (namespace, service, pod)
        sum by (namespace, service, pod) (rate(rpc_server_call_duration_seconds_count{ {{- $release }}, rpc_response_status_code!="UNAUTHENTICATED"}[15m])) > 0
  for: 5m
  labels: {severity: critical}
  annotations:
    summary: The contact service is about to reject all tokens, or already does.
    description: {{ `Pod {{ $labels.pod }} has used {{ $value | humanizePercentage }} of the time for which it may use stale keys (JWT_JWKS_MAX_STALE).` | quote }}
- alert: ContactServiceCertificateExpires
  expr: (contact_tls_certificate_expiry_timestamp_seconds{ {{- $release -}} } - time()) / 86400 < {{ $limit.certificateDays }}
  for: 15m
  labels: {severity: critical}
  annotations:
    summary: The TLS certificate of the contact service expires soon.
    description: {{ `The certificate of pod {{ $labels.pod }} expires in {{ $value | printf "%.1f" }} days; then clients reject all connections.` | quote }}
- alert: ContactServiceLogLinesDropped
  expr: increase(contact_log_lines_dropped_total{ {{- $release -}} }[15m]) > 0
  labels: {severity: warning}
  annotations:
    summary: The contact service drops log lines.
    description: {{ `Pod {{ $labels.pod }} dropped {{ $value | humanize }} lines within 15 minutes: its standard error is not read fast enough.` | quote }}
- alert: ContactServiceVersionsMixed
  expr: count(count by (version) (contact_build_info{ {{- $release -}} })) > 1
  for: 1h
  labels: {severity: warning}
  annotations:
    summary: Several versions of the contact service are running.
    description: {{ `{{ $value }} versions have run in parallel for an hour: an update did not finish.` | quote }}
{{- end -}}
