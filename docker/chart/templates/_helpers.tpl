{{- define "retune.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "retune.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "retune.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "retune.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "retune.selector" -}}
app.kubernetes.io/name: {{ include "retune.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "retune.labels" -}}
{{ include "retune.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "retune.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "retune.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Of (dict "root" $ "image" fields). */}}
{{- define "retune.image" -}}
{{- if .image.digest }}
{{- printf "%s@%s" .image.repository .image.digest }}
{{- else }}
{{- printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) }}
{{- end }}
{{- end }}

{{/* What cannot work is refused here, and not by a pod that never gets ready. */}}
{{- define "retune.check" -}}
{{- if not .Values.database.existingSecret }}
{{- if .Values.work.enabled }}
{{- fail "without database.existingSecret the database is private to serve: set work.enabled=false and serve.workers" }}
{{- end }}
{{- if ne (int .Values.serve.replicas) 1 }}
{{- fail "without database.existingSecret the database is private to serve: set serve.replicas=1" }}
{{- end }}
{{- if not .Values.serve.persistence.enabled }}
{{- fail "without database.existingSecret the database lies in the volume of serve: set serve.persistence.enabled=true" }}
{{- end }}
{{- end }}
{{- if and .Values.serve.persistence.enabled (ne (int .Values.serve.replicas) 1) }}
{{- fail "one volume is for one serve: set serve.replicas=1 or serve.persistence.enabled=false" }}
{{- end }}
{{- if and (not .Values.storage.roots) (or .Values.work.enabled (not .Values.serve.persistence.enabled)) }}
{{- fail "set storage.roots: without them models and results lie in a folder of serve alone" }}
{{- end }}
{{- if and .Values.migrate.enabled (not .Values.migrate.existingSecret) }}
{{- fail "migrate.enabled needs migrate.existingSecret" }}
{{- end }}
{{- end }}

{{/* Variables of every container. */}}
{{- define "retune.env" -}}
- name: RETUNE_DATA_DIR
  value: /var/lib/retune
{{- if .Values.config }}
- name: RETUNE_CONFIG
  value: /etc/retune/config.toml
{{- end }}
{{- with .Values.database.existingSecret }}
- name: DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.Values.database.key }}
{{- end }}
{{- with .Values.storage.roots }}
- name: RETUNE_STORAGE_ROOTS
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.storage.s3 }}
{{- if .endpoint }}
- name: RETUNE_STORAGE_S3_ENDPOINT
  value: {{ .endpoint | quote }}
- name: RETUNE_STORAGE_S3_ALLOW_HTTP
  value: {{ .allowHttp | quote }}
- name: RETUNE_STORAGE_S3_PATH_STYLE
  value: {{ .pathStyle | quote }}
{{- end }}
- name: RETUNE_STORAGE_S3_REGION
  value: {{ .region | quote }}
{{- end }}
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "retune.envFrom" -}}
{{- if or .Values.storage.existingSecret .Values.extraEnvFrom }}
envFrom:
  {{- with .Values.storage.existingSecret }}
  - secretRef:
      name: {{ . }}
  {{- end }}
  {{- with .Values.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "retune.mounts" -}}
- name: data
  mountPath: /var/lib/retune
- name: tmp
  mountPath: /tmp
{{- if .Values.config }}
- name: config
  mountPath: /etc/retune
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* All but `data`. */}}
{{- define "retune.volumes" -}}
- name: tmp
  emptyDir: {}
{{- if .Values.config }}
- name: config
  configMap:
    name: {{ include "retune.fullname" . }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Of (dict "root" $ "part" values of serve or work): where its pods may run. */}}
{{- define "retune.placement" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
