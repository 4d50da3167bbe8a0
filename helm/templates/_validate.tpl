{{/* Checks that the schema cannot express: required values and combinations. Reports all errors at once. */}}

{{- define "contact-service.validate" -}}
{{- $wrong := include (ternary "contact-service.validateTrial" "contact-service.validateRelease" .Values.trial.enabled) . | fromJsonArray -}}
{{- $wrong = concat $wrong (include "contact-service.validateMemory" . | fromJsonArray) -}}
{{- if $wrong }}{{ fail (printf "\n\nInvalid values:\n- %s\n" (join "\n- " $wrong)) }}{{ end }}
{{- end -}}

{{/* Values without an effect on a trial are rejected, so that a trial never replaces a release. */}}
{{- define "contact-service.validateTrial" -}}
{{- $wrong := list -}}
{{- $values := .Values -}}
{{- range $name, $value := dict
    "database.existingSecret" $values.database.existingSecret
    "serviceKeys.existingSecret" $values.serviceKeys.existingSecret
    "phonePepper.existingSecret" $values.phonePepper.existingSecret
    "smtp.existingSecret" $values.smtp.existingSecret
    "jwt.issuer" $values.jwt.issuer
    "publicUrl" $values.publicUrl
    "tls.existingSecret" $values.tls.existingSecret
    "mail.templates" $values.mail.templates
    "autoscaling.enabled" $values.autoscaling.enabled
    "grpcRoute.enabled" $values.grpcRoute.enabled
    "grpcIngress.enabled" $values.grpcIngress.enabled
    "confirmRoute.enabled" $values.confirmRoute.enabled
    "confirmIngress.enabled" $values.confirmIngress.enabled
    "metrics.serviceMonitor.enabled" $values.metrics.serviceMonitor.enabled
    "metrics.prometheusRule.enabled" $values.metrics.prometheusRule.enabled }}
{{- if $value }}{{ $wrong = append $wrong (printf "%s: must not be set with trial.enabled, which listens on loopback only, with development keys and an embedded database" $name) }}{{ end }}
{{- end }}
{{- toJson $wrong -}}
{{- end -}}

{{- define "contact-service.validateRelease" -}}
{{- $wrong := list -}}
{{- $values := .Values -}}
{{- range $name, $value := dict
    "database.existingSecret" $values.database.existingSecret
    "serviceKeys.existingSecret" $values.serviceKeys.existingSecret
    "phonePepper.existingSecret" $values.phonePepper.existingSecret
    "smtp.existingSecret" $values.smtp.existingSecret
    "smtp.from" $values.smtp.from
    "jwt.issuer" $values.jwt.issuer
    "publicUrl" $values.publicUrl }}
{{- if not $value }}{{ $wrong = append $wrong (printf "%s: must be set" $name) }}{{ end }}
{{- end }}
{{- $jwks := $values.jwt.jwks }}
{{- $sources := len (compact (list $jwks.url $jwks.configMap $jwks.existingSecret)) }}
{{- if gt $sources 1 }}
{{- $wrong = append $wrong "jwt.jwks: at most one of url, configMap and existingSecret may be set" }}
{{- end }}
{{- if eq $sources 0 }}
{{- range $issuer := splitList "," $values.jwt.issuer }}
{{- if and $issuer (not (hasPrefix "https://" (trim $issuer))) }}
{{- $wrong = append $wrong "jwt.issuer: must be https where jwt.jwks is not set, because keys are discovered through it" }}
{{- end }}
{{- end }}
{{- end }}
{{- $wrong = concat $wrong (include "contact-service.validateServing" . | fromJsonArray) }}
{{- $wrong = concat $wrong (include "contact-service.validateRoutes" . | fromJsonArray) }}
{{- if $values.networkPolicy.enabled }}
{{- $wrong = concat $wrong (include "contact-service.validateNetworkPolicy" . | fromJsonArray) }}
{{- end }}
{{- toJson $wrong -}}
{{- end -}}

{{/*
The rule of the service itself (src/crypto/password_hasher): a hash buffer for each thread, which are one per
core up to four, and two more, but four at least; and 32 MiB. Without a CPU limit a node may have four cores.
*/}}
{{- define "contact-service.validateMemory" -}}
{{- $wrong := list -}}
{{- $limits := default dict .Values.resources.limits -}}
{{- if hasKey $limits "memory" }}
{{- $cores := hasKey $limits "cpu" | ternary (include "contact-service.quantity" $limits.cpu) "4" | float64 | int | max 1 | min 4 }}
{{- $buffers := max 4 (add $cores 2) }}
{{- $cost := default "m=65536" .Values.phonePasswordCost }}
{{- $kib := regexFind "[0-9]+" $cost | int64 }}
{{- $needed := add (mul $kib 1024 $buffers) 33554432 }}
{{- if lt (include "contact-service.quantity" $limits.memory | int64) $needed }}
{{- $wrong = append $wrong (printf "resources.limits.memory: must be at least %dMi: %d buffers for phone password hashes, of %d KiB (m of phonePasswordCost), and 32Mi for the rest" (div (add $needed 1048575) 1048576) $buffers $kib) }}
{{- end }}
{{- end }}
{{- toJson $wrong -}}
{{- end -}}

{{/* A quantity of Kubernetes, such as 512Mi or 500m, as a whole number; it is rounded down. */}}
{{- define "contact-service.quantity" -}}
{{- $units := dict "" 1.0 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 -}}
{{- $text := toString . -}}
{{- $unit := regexFind "[A-Za-z]+$" $text -}}
{{- mulf (trimSuffix $unit $text | float64) (get $units $unit) | floor | printf "%.0f" -}}
{{- end -}}

{{- define "contact-service.validateServing" -}}
{{- $wrong := list -}}
{{- $values := .Values -}}
{{- if and $values.tls.existingSecret (not $values.metrics.enabled) }}
{{- $wrong = append $wrong "metrics.enabled: required with TLS: Kubernetes' gRPC probes do not support TLS, so probes use that port" }}
{{- end }}
{{- if and $values.tls.clientCa.existingSecret (not $values.tls.existingSecret) }}
{{- $wrong = append $wrong "tls.clientCa: requires tls.existingSecret" }}
{{- end }}
{{- range $name := list "serviceMonitor" "prometheusRule" }}
{{- if and (index $values.metrics $name).enabled (not $values.metrics.enabled) }}
{{- $wrong = append $wrong (printf "metrics.%s: requires metrics.enabled" $name) }}
{{- end }}
{{- end }}
{{- with $values.phonePasswordCost }}
{{- $kib := regexFind "[0-9]+" . | int64 }}
{{- if or (lt $kib 8192) (gt $kib 1048576) }}
{{- $wrong = append $wrong "phonePasswordCost: m must be 8192 to 1048576 KiB" }}
{{- end }}
{{- end }}
{{- $needed := add $values.preStopSleepSeconds (include "contact-service.stopSeconds" . | int) | int }}
{{- if lt (int $values.terminationGracePeriodSeconds) $needed }}
{{- $wrong = append $wrong (printf "terminationGracePeriodSeconds: must be at least %d: preStopSleepSeconds plus 30 s for the service's shutdown" $needed) }}
{{- end }}
{{- if and $values.autoscaling.enabled (gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) }}
{{- $wrong = append $wrong "autoscaling.maxReplicas: must not be below minReplicas" }}
{{- end }}
{{- $budget := $values.podDisruptionBudget }}
{{- if $budget.enabled }}
{{- $given := list }}
{{- range list $budget.maxUnavailable $budget.minAvailable }}{{ if ne (toString .) "" }}{{ $given = append $given . }}{{ end }}{{ end }}
{{- if ne (len $given) 1 }}
{{- $wrong = append $wrong "podDisruptionBudget: one of maxUnavailable and minAvailable must be set, and the other empty" }}
{{- end }}
{{- end }}
{{- $update := $values.strategy.rollingUpdate }}
{{- if and (eq $values.strategy.type "RollingUpdate") (has (toString $update.maxUnavailable) (list "0" "0%")) (has (toString $update.maxSurge) (list "0" "0%")) }}
{{- $wrong = append $wrong "strategy.rollingUpdate: maxUnavailable and maxSurge must not both be 0" }}
{{- end }}
{{- toJson $wrong -}}
{{- end -}}

{{- define "contact-service.validateRoutes" -}}
{{- $wrong := list -}}
{{- $values := .Values -}}
{{- range $name := list "grpcRoute" "confirmRoute" }}
{{- $route := index $values $name }}
{{- if and $route.enabled (not $route.parentRefs) }}
{{- $wrong = append $wrong (printf "%s.parentRefs: must name a Gateway" $name) }}
{{- end }}
{{- end }}
{{- range $name := list "confirmRoute" "confirmIngress" }}
{{- if and (index $values $name).enabled (not $values.confirmPage.enabled) }}
{{- $wrong = append $wrong (printf "%s: requires confirmPage.enabled" $name) }}
{{- end }}
{{- end }}
{{- range $name := list "grpcIngress" "confirmIngress" }}
{{- $ingress := index $values $name }}
{{- if and $ingress.enabled (not $ingress.hosts) }}
{{- $wrong = append $wrong (printf "%s.hosts: must name a host" $name) }}
{{- end }}
{{- end }}
{{- toJson $wrong -}}
{{- end -}}

{{/* An empty list would block connections that the service requires. */}}
{{- define "contact-service.validateNetworkPolicy" -}}
{{- $wrong := list -}}
{{- $policy := .Values.networkPolicy -}}
{{- $ingress := list (list "grpc" true) (list "confirm" .Values.confirmPage.enabled) (list "metrics" .Values.metrics.serviceMonitor.enabled) }}
{{- range $ingress }}
{{- if and (index . 1) (not (index $policy.ingress (index . 0))) }}
{{- $wrong = append $wrong (printf "networkPolicy.ingress.%s: must name a peer; any permits all" (index . 0)) }}
{{- end }}
{{- end }}
{{- $egress := list (list "dns" true) (list "database" true) (list "smtp" true) (list "jwks" (not (include "contact-service.jwksFile" .))) (list "otlp" .Values.tracing.endpoint) }}
{{- range $egress }}
{{- if and (index . 1) (not (index $policy.egress (index . 0)).peers) }}
{{- $wrong = append $wrong (printf "networkPolicy.egress.%s.peers: must name a peer; any permits all" (index . 0)) }}
{{- end }}
{{- end }}
{{- toJson $wrong -}}
{{- end -}}
