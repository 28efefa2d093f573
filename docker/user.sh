#!/bin/sh
# Add a user of the server that runs in this container, or give one another role:
#   docker/user.sh NAME reader|trainer|registrar
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
# shellcheck source=secret.sh
. "$here/secret.sh"
secret MLFLOW_AUTH_ADMIN_PASSWORD
export MLFLOW_TRACKING_URI="http://127.0.0.1:${PORT:-5000}"
export MLFLOW_TRACKING_USERNAME=admin MLFLOW_TRACKING_PASSWORD="$MLFLOW_AUTH_ADMIN_PASSWORD"
exec python "$here/users.py" "$@"
