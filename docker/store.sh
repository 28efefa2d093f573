#!/bin/sh
# The S3 store (SeaweedFS), in a container or natively. Only its S3 port answers, by TLS and with
# keys; the rest listens on this machine alone and answers nobody who has not the store's own key.
#   STORE_DIR    where it keeps its files
#   HOST, PORT   where the S3 interface listens (127.0.0.1, 8333)
#   STORE_CERTIFICATE_FILE, STORE_CERTIFICATE_KEY_FILE   files that certificate.sh has drawn
# Secrets, each from the environment or from the file that NAME_FILE names: AWS_ACCESS_KEY_ID and
# AWS_SECRET_ACCESS_KEY, the one key that may read and write.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
# shellcheck source=secret.sh
. "$here/secret.sh"
: "${STORE_DIR:?name a folder for the store}"
secret AWS_ACCESS_KEY_ID
secret AWS_SECRET_ACCESS_KEY
certificate=${STORE_CERTIFICATE_FILE:?name the certificate} key=${STORE_CERTIFICATE_KEY_FILE:?name its key}
for file in "$certificate" "$key"; do # SeaweedFS would only warn, and answer everybody
    [ -s "$file" ] && [ -r "$file" ] || {
        echo "$file is not to be read: draw the store's certificate with certificate.sh" >&2
        exit 1
    }
done
umask 077
mkdir -p "$STORE_DIR"
cat >"$STORE_DIR/s3.json" <<JSON
{"identities": [{"name": "mlflow", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
  "credentials": [{"accessKey": "$AWS_ACCESS_KEY_ID", "secretKey": "$AWS_SECRET_ACCESS_KEY"}]}]}
JSON
chmod 600 "$STORE_DIR/s3.json"                # also where an earlier version wrote it
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY # SeaweedFS writes what it finds here into its log
# What SeaweedFS' security.toml would say, in which a wrong line would be skipped.
for part in GRPC_MASTER GRPC_VOLUME GRPC_FILER GRPC_S3 GRPC_CLIENT HTTPS_MASTER HTTPS_VOLUME \
    HTTPS_FILER HTTPS_CLIENT; do
    export "WEED_${part}_CERT=$certificate" "WEED_${part}_KEY=$key" "WEED_${part}_CA=$certificate"
done
export WEED_GRPC_CA="$certificate" WEED_HTTPS_CLIENT_ENABLED=true
# Of volumes of 1 GiB as many as the disk has room for: 8 are what it would take by itself. A master
# that is alone need not wait 10 s for others after each start but the first.
exec weed -logtostderr=true server -dir="$STORE_DIR" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -s3 -s3.config="$STORE_DIR/s3.json" -s3.ip.bind="${HOST:-127.0.0.1}" -s3.port="${PORT:-8333}" \
    -s3.cert.file="$certificate" -s3.key.file="$key" -s3.allowedOrigins=none -s3.iam=false \
    -s3.port.iceberg=0 -s3.port.lance=0 -master.port="${MASTER_PORT:-9333}" \
    -volume.port="${VOLUME_PORT:-8080}" -filer.port="${FILER_PORT:-8888}" \
    -master.volumeSizeLimitMB=1024 -volume.max=0 -volume.preStopSeconds=1 -master.telemetry=false \
    -master.electionTimeout=1s
