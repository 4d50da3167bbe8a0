{{/* Names and labels. The longest suffix, "-dashboard", must fit into 63 characters too. */}}

{{- define "contact-service.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "contact-service.fullname" -}}
{{- $name := include "contact-service.name" . -}}
{{- $default := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $default .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "contact-service.serviceAccountName" -}}
{{- $default := ternary (include "contact-service.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $default .Values.serviceAccount.name -}}
{{- end -}}

{{/* Hooks run before the release's own ServiceAccount exists. */}}
{{- define "contact-service.migrationServiceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- include "contact-service.fullname" . }}-migrate
{{- else -}}
{{- include "contact-service.serviceAccountName" . -}}
{{- end -}}
{{- end -}}

{{/* Usage: include "contact-service.selectorLabels" (dict "root" . "component" "server") */}}
{{- define "contact-service.selectorLabels" -}}
app.kubernetes.io/name: {{ include "contact-service.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Usage: include "contact-service.labels" (dict "root" . "component" "server") */}}
{{- define "contact-service.labels" -}}
{{ include "contact-service.selectorLabels" . }}
app.kubernetes.io/version: {{ default .root.Chart.AppVersion .root.Values.image.tag | trunc 63 | trimSuffix "-" | trimSuffix "." | trimSuffix "_" | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "contact-service.image" -}}
{{- $image := .Values.image -}}
{{- $name := ternary $image.repository (printf "%s/%s" $image.registry $image.repository) (empty $image.registry) -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/*
Name of the variable that pods have with a Service's address: of contact-service it is
CONTACT_SERVICE_SERVICE_HOST. Usage: (dict "root" . "suffix" "-metrics")
*/}}
{{- define "contact-service.hostVariable" -}}
{{- $service := print (include "contact-service.fullname" .root) .suffix -}}
{{- printf "%s_SERVICE_HOST" ($service | upper | replace "-" "_") -}}
{{- end -}}
