{{/*
The alerts. Each one's section in docs/operations/runbooks.md has its name. Expressions ask for series by
`$release`, and gauges that every pod reads from the database are the same in all of them: max.
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
    summary: No replica of the contact service is ready.
    description: Callers get UNAVAILABLE. Either no pod runs, or none is ready; contact_not_ready names the cause, such as a database that takes no writes.
- alert: ContactServiceReplicaNotReady
  expr: contact_ready{ {{- $release -}} } == 0
  for: 10m
  labels: {severity: warning}
  annotations:
    summary: A replica of the contact service is not ready.
    description: {{ `Pod {{ $labels.pod }} has not been ready for 10 minutes; contact_not_ready names the cause.` | quote }}
- alert: ContactServiceCallsFail
  expr: |-
    sum(rate(contact_call_errors_total{ {{- $release }}, reason=~"DATABASE_UNAVAILABLE|TOKEN_KEYS_UNAVAILABLE|OVERLOADED|DEADLINE|INTERNAL|DATA_LOSS"}[5m]))
      / sum(rate(rpc_server_call_duration_seconds_count{ {{- $release -}} }[5m])) > {{ $limit.errorRatio }}
  for: 5m
  labels: {severity: critical}
  annotations:
    summary: Calls to the contact service fail through no fault of the caller.
    description: {{ `{{ $value | humanizePercentage }} of the calls failed within 5 minutes.` | quote }}
- alert: ContactServiceInternalErrors
  expr: sum by (reason) (increase(contact_call_errors_total{ {{- $release }}, reason=~"INTERNAL|DATA_LOSS"}[15m])) > 0
  labels: {severity: warning}
  annotations:
    summary: The contact service came upon an error that it does not know.
    description: {{ `Calls ended with {{ $labels.reason }}: a mistake of the program, or data that cannot be right.` | quote }}
- alert: ContactServiceDatabaseUnavailable
  expr: sum(rate(contact_call_errors_total{ {{- $release }}, reason="DATABASE_UNAVAILABLE"}[2m])) > 0
  for: 5m
  labels: {severity: critical}
  annotations:
    summary: The contact service does not reach its database.
    description: {{ `{{ $value | humanize }} calls per second have failed for 5 minutes, longer than a fail-over takes.` | quote }}
- alert: ContactServiceOverloaded
  expr: sum(rate(contact_call_errors_total{ {{- $release }}, reason="OVERLOADED"}[5m])) > 0
  for: 10m
  labels: {severity: warning}
  annotations:
    summary: The contact service sheds load.
    description: {{ `{{ $value | humanize }} calls per second are refused with OVERLOADED.` | quote }}
- alert: ContactServiceSlow
  expr: |-
    histogram_quantile(0.99, sum by (le) (rate(rpc_server_call_duration_seconds_bucket{ {{- $release }}, rpc_method!~"contact.v1.ContactService/(StreamRecipients|CreateContact|SetPhonePassword|CheckPhonePassword)"}[5m]))) > {{ $limit.latencySeconds }}
  for: 10m
  labels: {severity: warning}
  annotations:
    summary: The contact service is slow.
    description: {{ `1 % of the calls take longer than {{ $value | humanizeDuration }}; passwords and streams are not counted.` | quote }}
- alert: ContactServiceCallsPileUp
  expr: contact_calls_in_flight{ {{- $release -}} } > {{ $limit.callsInFlight }}
  for: 5m
  labels: {severity: warning}
  annotations:
    summary: A replica of the contact service soon sheds load.
    description: {{ `Pod {{ $labels.pod }} has {{ $value }} calls in flight; 1,024 is the most it takes.` | quote }}
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
    summary: No mail of the contact service leaves.
    description: {{ `The oldest mail has waited for {{ $value | humanizeDuration }}, and none was sent within 15 minutes.` | quote }}
- alert: ContactServiceOutboxGrows
  expr: max(contact_outbox_mails{ {{- $release }}, state="waiting"}) > {{ $limit.mailsWaiting }}
  for: 30m
  labels: {severity: warning}
  annotations:
    summary: Mails of the contact service leave more slowly than new ones come.
    description: {{ `{{ $value }} mails wait.` | quote }}
- alert: ContactServiceMailsGivenUp
  expr: sum(increase(contact_mails_total{ {{- $release }}, outcome="given_up"}[1h])) > {{ $limit.mailsGivenUp }}
  labels: {severity: warning}
  annotations:
    summary: Mails of the contact service became dead letters.
    description: {{ `{{ $value | humanize }} mails were given up within an hour.` | quote }}
- alert: ContactServiceMailsRejected
  expr: sum by (class) (increase(contact_mail_rejections_total{ {{- $release }}, class!~"mailbox|temporary|connection"}[2h])) > {{ $limit.mailsRejected }}
  labels: {severity: warning}
  annotations:
    summary: The mail server rejects mails of the contact service for reasons other than the mailbox.
    description: {{ `{{ $value | humanize }} attempts within 2 hours failed with the class {{ $labels.class }}. No address was marked; the mails are retried for 12 hours.` | quote }}
- alert: ContactServiceMailLimits
  expr: sum by (limit) (increase(contact_limit_hits_total{ {{- $release }}, limit=~"mails_per_address|mails_per_customer"}[1h])) > {{ $limit.mailLimitHits }}
  labels: {severity: warning}
  annotations:
    summary: Confirmation mails of the contact service reach a limit.
    description: {{ `{{ $value | humanize }} requests within an hour were rejected by the limit {{ $labels.limit }}: somebody may have a mailbox flooded.` | quote }}
- alert: ContactServiceAgentGuesses
  expr: max(contact_phone_password_failed_contacts{ {{- $release }}, scope="agent"}) > {{ $limit.failedContactsOfAgent }}
  for: 1m
  labels: {severity: warning}
  annotations:
    summary: An agent of the call center fails at the phone passwords of many contacts.
    description: {{ `Checks by one agent failed for {{ $value }} contacts within an hour, without a match since.` | quote }}
- alert: ContactServiceGuessesSpread
  expr: |-
    max(contact_phone_password_failed_contacts{ {{- $release }}, scope="all"}) > {{ $limit.failedContacts }}
      and max(contact_phone_password_failed_contacts{ {{- $release }}, scope="all"})
        > {{ $limit.failedContactsRatio }} * avg_over_time(max(contact_phone_password_failed_contacts{ {{- $release }}, scope="all"})[1d:5m] offset 1h)
  for: 1m
  labels: {severity: warning}
  annotations:
    summary: Phone passwords of more contacts than usual are guessed at.
    description: {{ `Checks failed for {{ $value }} contacts within an hour, without a match since: far more than on the average of the last day.` | quote }}
- alert: ContactServicePhonePasswordLocks
  expr: sum(increase(contact_phone_password_locks_total{ {{- $release -}} }[1h])) > {{ $limit.phonePasswordLocks }}
  labels: {severity: warning}
  annotations:
    summary: Many phone passwords are locked.
    description: {{ `{{ $value | humanize }} locks within an hour: somebody may be guessing phone passwords.` | quote }}
- alert: ContactServicePepperMissing
  expr: contact_missing_pepper_versions{ {{- $release -}} } > 0
  for: 2m
  labels: {severity: critical}
  annotations:
    summary: A replica of the contact service lacks a pepper of stored phone passwords.
    description: {{ `Pod {{ $labels.pod }} lacks {{ $value }} pepper version(s), so it is not ready.` | quote }}
- alert: ContactServiceAgentBlocked
  expr: sum(increase(contact_phone_password_checks_total{ {{- $release }}, verdict="agent_blocked"}[15m])) > 0
  labels: {severity: warning}
  annotations:
    summary: An agent of the call center is blocked.
    description: 20 wrong phone passwords within an hour came from one agent, and more are tried.
- alert: ContactServiceTokensRefused
  expr: |-
    sum(rate(rpc_server_call_duration_seconds_count{ {{- $release }}, rpc_response_status_code="UNAUTHENTICATED"}[5m]))
      / sum(rate(rpc_server_call_duration_seconds_count{ {{- $release -}} }[5m])) > {{ $limit.refusedTokenRatio }}
  for: 10m
  labels: {severity: warning}
  annotations:
    summary: The contact service refuses the tokens of its callers.
    description: {{ `{{ $value | humanizePercentage }} of the calls ended with UNAUTHENTICATED.` | quote }}
- alert: ContactServiceTokenKeysStale
  expr: |-
    contact_token_keys_age_seconds{ {{- $release -}} } > {{ $limit.tokenKeysAgeSeconds }}
      and on (namespace, service, pod)
        sum by (namespace, service, pod) (rate(rpc_server_call_duration_seconds_count{ {{- $release }}, rpc_response_status_code!="UNAUTHENTICATED"}[15m])) > 0
  for: 5m
  labels: {severity: warning}
  annotations:
    summary: The contact service cannot read the keys of tokens.
    description: {{ `Pod {{ $labels.pod }} read them {{ $value | humanizeDuration }} ago; removed keys are still accepted, and new ones are not.` | quote }}
- alert: ContactServiceTokenKeysExpire
  expr: |-
    contact_token_keys_age_seconds{ {{- $release -}} } / contact_token_keys_max_stale_seconds{ {{- $release -}} } > 0.5
      and on (namespace, service, pod)
        sum by (namespace, service, pod) (rate(rpc_server_call_duration_seconds_count{ {{- $release }}, rpc_response_status_code!="UNAUTHENTICATED"}[15m])) > 0
  for: 5m
  labels: {severity: critical}
  annotations:
    summary: The contact service soon rejects all tokens, or already does.
    description: {{ `Pod {{ $labels.pod }} has used {{ $value | humanizePercentage }} of the time for which it may use keys that it cannot read again (JWT_JWKS_MAX_STALE).` | quote }}
- alert: ContactServiceLogLinesDropped
  expr: increase(contact_log_lines_dropped_total{ {{- $release -}} }[15m]) > 0
  labels: {severity: warning}
  annotations:
    summary: Log lines of the contact service are lost.
    description: {{ `Pod {{ $labels.pod }} dropped {{ $value | humanize }} lines within 15 minutes: its standard error is not read fast enough.` | quote }}
- alert: ContactServiceVersionsMixed
  expr: count(count by (version) (contact_build_info{ {{- $release -}} })) > 1
  for: 1h
  labels: {severity: warning}
  annotations:
    summary: Several versions of the contact service run.
    description: {{ `{{ $value }} versions have run side by side for an hour: an update did not end.` | quote }}
{{- end -}}
