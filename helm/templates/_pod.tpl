{{/* Parts of pods. Secrets are mounted as whole volumes, so that changes reach running pods. */}}

{{- define "contact-service.secretsFolder" -}}/etc/contact-service/secrets{{- end -}}
{{- define "contact-service.tlsFolder" -}}/etc/contact-service/tls{{- end -}}
{{- define "contact-service.jwksFolder" -}}/etc/contact-service/jwks{{- end -}}
{{/* Not empty if the token keys are mounted. */}}
{{- define "contact-service.jwksFile" -}}{{ .Values.jwt.jwks.configMap }}{{ .Values.jwt.jwks.existingSecret }}{{- end -}}
{{- define "contact-service.templatesFolder" -}}/etc/contact-service/templates{{- end -}}
{{- define "contact-service.brandFolder" -}}/etc/contact-service/brand{{- end -}}
{{- define "contact-service.caFolder" -}}/etc/contact-service/ca{{- end -}}

{{/* Seconds that the service needs after SIGTERM: it drains for 20 s and exits within 30 s. */}}
{{- define "contact-service.stopSeconds" -}}30{{- end -}}

{{/* Usage: include "contact-service.secretFile" (list SECRET KEY PATH) */}}
{{- define "contact-service.secretFile" -}}
- secret:
    name: {{ index . 0 }}
    items:
      - key: {{ index . 1 }}
        path: {{ index . 2 }}
{{- end -}}

{{/* The Secret with the URL of the role that migrates, as JSON. */}}
{{- define "contact-service.migrationSecret" -}}
{{- toJson (ternary .Values.migration.database .Values.database (not (empty .Values.migration.database.existingSecret))) -}}
{{- end -}}

{{/*
The database's files and variables, which suffice for a migration.
Usage: (dict "root" . "secret" .Values.database)
*/}}
{{- define "contact-service.databaseFiles" -}}
{{ include "contact-service.secretFile" (list .secret.existingSecret .secret.key "database-url") }}
{{- with .root.Values.database.ca }}
{{- if .existingSecret }}
{{ include "contact-service.secretFile" (list .existingSecret .key "database-ca.crt") }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "contact-service.databaseSettings" -}}
DATABASE_URL_FILE: {{ include "contact-service.secretsFolder" . }}/database-url
{{- with .Values.database.sslMode }}
PGSSLMODE: {{ . }}
{{- end }}
{{- if .Values.database.ca.existingSecret }}
PGSSLROOTCERT: {{ include "contact-service.secretsFolder" . }}/database-ca.crt
{{- end }}
LOG_FORMAT: {{ .Values.log.format }}
RUST_LOG: {{ .Values.log.filter | quote }}
{{- end -}}

{{/* Variables, without those that extraEnv overrides, and extraEnv. Usage: (dict "root" . "settings" MAP) */}}
{{- define "contact-service.env" -}}
{{- $extra := list }}
{{- range .root.Values.extraEnv }}{{ $extra = append $extra .name }}{{ end }}
{{- range $name, $value := .settings }}
{{- if not (has $name $extra) }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- with .root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "contact-service.migrationContainer" -}}
name: migrate
image: {{ include "contact-service.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [migrate, up]
env:
  {{- include "contact-service.env" (dict "root" . "settings" (include "contact-service.databaseSettings" . | fromYaml)) | trim | nindent 2 }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
  - name: database
    mountPath: {{ include "contact-service.secretsFolder" . }}
    readOnly: true
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "contact-service.databaseVolume" -}}
name: database
projected:
  defaultMode: 0440
  sources:
    {{- include "contact-service.databaseFiles" (dict "root" . "secret" (include "contact-service.migrationSecret" . | fromJson)) | nindent 4 }}
{{- end -}}

{{/* Mounts of the server and of the release's test. */}}
{{- define "contact-service.mounts" -}}
- name: secrets
  mountPath: {{ include "contact-service.secretsFolder" . }}
  readOnly: true
{{- if .Values.tls.existingSecret }}
- name: tls
  mountPath: {{ include "contact-service.tlsFolder" . }}
  readOnly: true
{{- end }}
{{- if include "contact-service.jwksFile" . }}
- name: jwks
  mountPath: {{ include "contact-service.jwksFolder" . }}
  readOnly: true
{{- end }}
{{- if .Values.mail.templates }}
- name: templates
  mountPath: {{ include "contact-service.templatesFolder" . }}
  readOnly: true
{{- end }}
{{- if .Values.brand.logo.configMap }}
- name: brand
  mountPath: {{ include "contact-service.brandFolder" . }}
  readOnly: true
{{- end }}
{{- if .Values.caBundle.configMap }}
- name: ca
  mountPath: {{ include "contact-service.caFolder" . }}
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "contact-service.volumes" -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- include "contact-service.databaseFiles" (dict "root" . "secret" .Values.database) | nindent 6 }}
      {{- with .Values.database.replica }}
      {{- if .existingSecret }}
      {{- include "contact-service.secretFile" (list .existingSecret .key "database-replica-url") | nindent 6 }}
      {{- end }}
      {{- end }}
      {{- include "contact-service.secretFile" (list .Values.serviceKeys.existingSecret .Values.serviceKeys.key "service-keys") | nindent 6 }}
      {{- include "contact-service.secretFile" (list .Values.phonePepper.existingSecret .Values.phonePepper.key "phone-pepper") | nindent 6 }}
      {{- include "contact-service.secretFile" (list .Values.smtp.existingSecret .Values.smtp.key "smtp-url") | nindent 6 }}
{{- with .Values.tls }}
{{- if .existingSecret }}
- name: tls
  projected:
    defaultMode: 0440
    sources:
      {{- include "contact-service.secretFile" (list .existingSecret .certKey "tls.crt") | nindent 6 }}
      {{- include "contact-service.secretFile" (list .existingSecret .keyKey "tls.key") | nindent 6 }}
      {{- if .clientCa.existingSecret }}
      {{- include "contact-service.secretFile" (list .clientCa.existingSecret .clientCa.key "client-ca.crt") | nindent 6 }}
      {{- end }}
{{- end }}
{{- end }}
{{- with .Values.jwt.jwks }}
{{- if include "contact-service.jwksFile" $ }}
- name: jwks
  {{- if .configMap }}
  configMap:
    name: {{ .configMap }}
  {{- else }}
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0440
  {{- end }}
    items:
      - key: {{ .key }}
        path: jwks.json
{{- end }}
{{- end }}
{{- if .Values.mail.templates }}
- name: templates
  configMap:
    name: {{ include "contact-service.fullname" . }}-templates
    items:
      {{- range $path, $_ := .Values.mail.templates }}
      - key: {{ $path | replace "/" "." }}
        path: {{ $path }}
      {{- end }}
{{- end }}
{{- with .Values.brand.logo }}
{{- if .configMap }}
- name: brand
  configMap:
    name: {{ .configMap }}
    items:
      - key: {{ .key }}
        path: logo.png
{{- end }}
{{- end }}
{{- with .Values.caBundle }}
{{- if .configMap }}
- name: ca
  configMap:
    name: {{ .configMap }}
    items:
      - key: {{ .key }}
        path: ca-certificates.crt
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Kubernetes' gRPC probes do not support TLS. Usage: (dict "root" . "grpc" SERVICE "http" PATH "timing" VALUES) */}}
{{- define "contact-service.probe" -}}
{{- if .root.Values.tls.existingSecret -}}
httpGet:
  path: {{ .http }}
  port: metrics
{{- else -}}
grpc:
  port: 50051
  service: {{ .grpc | quote }}
{{- end }}
{{ toYaml .timing }}
{{- end -}}

{{/* Placement and other settings that migrations and servers share. */}}
{{- define "contact-service.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
