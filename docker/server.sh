#!/bin/sh
# The MLflow server on a database and an S3 store, in a container or natively (tests do).
#   DATABASE_URI            postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME
#   BUCKET                  bucket of the S3 store for artifacts, made if it is not there
#   MLFLOW_S3_ENDPOINT_URL  address of the S3 store; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
#   HOST, PORT              where to listen (127.0.0.1, 5000)
#   ALLOWED_HOSTS           names by which browsers may call the server, with commas
set -eu
: "${DATABASE_URI:?name the database, for example postgresql+psycopg://mlflow:...@postgres/mlflow}"
: "${BUCKET:?name the bucket for artifacts}" "${MLFLOW_S3_ENDPOINT_URL:?name the S3 store}"
export AWS_DEFAULT_REGION="${AWS_DEFAULT_REGION:-us-east-1}"
export MLFLOW_DISABLE_TELEMETRY=true
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false # 0.8 GiB instead of 3.0
python - <<'PYTHON'
import os
import boto3

store = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
if os.environ["BUCKET"] not in [bucket["Name"] for bucket in store.list_buckets()["Buckets"]]:
    store.create_bucket(Bucket=os.environ["BUCKET"])
PYTHON
exec mlflow server \
    --backend-store-uri "$DATABASE_URI" \
    --artifacts-destination "s3://$BUCKET/artifacts" \
    --host "${HOST:-127.0.0.1}" --port "${PORT:-5000}" --workers "${WORKERS:-2}" \
    --allowed-hosts "${ALLOWED_HOSTS:-localhost:*,127.0.0.1:*}"
