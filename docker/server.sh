#!/bin/sh
# The MLflow server on a database and an S3 store, in a container or natively; with `upgrade`, its
# database brought up to this version of MLflow instead.
#   DATABASE_URI            postgresql+psycopg://USER@HOST:PORT/NAME
#   BUCKET                  bucket of the S3 store for artifacts, made if it is not there
#   MLFLOW_S3_ENDPOINT_URL  address of the S3 store
#   AWS_CA_BUNDLE           its certificate, where no authority that the machine trusts has signed it
#   HOST, PORT, WORKERS     where to listen (127.0.0.1, 5000) and with how many processes (2)
#   ALLOWED_HOSTS           names by which browsers may call the server, with commas
# Secrets, each from the environment or from the file that NAME_FILE names:
#   PGPASSWORD (where the database asks for one), AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
#   MLFLOW_AUTH_ADMIN_PASSWORD (of the user `admin`, taken at the first start only),
#   MLFLOW_FLASK_SERVER_SECRET_KEY
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
# shellcheck source=secret.sh
. "$here/secret.sh"
secret PGPASSWORD optional
for name in AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY MLFLOW_AUTH_ADMIN_PASSWORD \
    MLFLOW_FLASK_SERVER_SECRET_KEY; do
    secret "$name"
done
: "${DATABASE_URI:?name the database, for example postgresql+psycopg://mlflow@postgres/mlflow}"
: "${BUCKET:?name the bucket for artifacts}" "${MLFLOW_S3_ENDPOINT_URL:?name the S3 store}"
if [ "${1:-}" = upgrade ]; then
    mlflow db upgrade "$DATABASE_URI"
    python -m mlflow.server.auth db upgrade --url "$DATABASE_URI"
    echo "the database is up to date"
    exit
fi
export AWS_DEFAULT_REGION="${AWS_DEFAULT_REGION:-us-east-1}"
export MLFLOW_DISABLE_TELEMETRY=true
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false # 0.8 GiB instead of 3.0
export MLFLOW_BASIC_AUTH_FAIL_CLOSED=true       # a route that MLflow has no rule for is closed
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
python - <<'PYTHON'
import os
import boto3

store = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
if os.environ["BUCKET"] not in [bucket["Name"] for bucket in store.list_buckets()["Buckets"]]:
    store.create_bucket(Bucket=os.environ["BUCKET"])
PYTHON
# Who may do what is in access.py alone, which is asked first; a password is looked up at most once
# a minute and process.
MLFLOW_AUTH_CONFIG_PATH=$(mktemp)
export MLFLOW_AUTH_CONFIG_PATH
cat >"$MLFLOW_AUTH_CONFIG_PATH" <<INI
[mlflow]
default_permission = MANAGE
database_uri = $DATABASE_URI
admin_username = admin
authorization_function = access:authenticate
auth_cache_ttl_seconds = 60
INI
# MLflow's app with log-in is lab.py's: of two that are called so the first on the path is taken.
exec mlflow server \
    --app-name basic-auth \
    --backend-store-uri "$DATABASE_URI" \
    --artifacts-destination "proxied-s3://$BUCKET/artifacts" \
    --host "${HOST:-127.0.0.1}" --port "${PORT:-5000}" --workers "${WORKERS:-2}" \
    --allowed-hosts "${ALLOWED_HOSTS:-localhost:*,127.0.0.1:*}"
