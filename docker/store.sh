#!/bin/sh
# The S3 store (SeaweedFS), in a container or natively.
#   STORE_DIR    where it keeps its files
#   HOST, PORT   where the S3 interface listens (127.0.0.1, 8333)
# Secrets, each from the environment or from the file that NAME_FILE names: AWS_ACCESS_KEY_ID and
# AWS_SECRET_ACCESS_KEY, the one key that may read and write.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
# shellcheck source=secret.sh
. "$here/secret.sh"
: "${STORE_DIR:?name a folder for the store}"
secret AWS_ACCESS_KEY_ID
secret AWS_SECRET_ACCESS_KEY
umask 077
mkdir -p "$STORE_DIR"
cat >"$STORE_DIR/s3.json" <<JSON
{"identities": [{"name": "mlflow", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
  "credentials": [{"accessKey": "$AWS_ACCESS_KEY_ID", "secretKey": "$AWS_SECRET_ACCESS_KEY"}]}]}
JSON
exec weed server -s3 -s3.config="$STORE_DIR/s3.json" -s3.port="${PORT:-8333}" -s3.port.iceberg=0 -s3.port.lance=0 \
    -ip=127.0.0.1 -ip.bind="${HOST:-127.0.0.1}" -dir="$STORE_DIR" \
    -master.port="${MASTER_PORT:-9333}" -volume.port="${VOLUME_PORT:-8080}" \
    -filer.port="${FILER_PORT:-8888}" -master.volumeSizeLimitMB=1024 -volume.preStopSeconds=1
