#!/bin/sh
# Save or restore database and store: docker/backup.sh save|restore FOLDER; settings as server.sh.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
# shellcheck source=secret.sh
. "$here/secret.sh"
secret PGPASSWORD optional
secret AWS_ACCESS_KEY_ID
secret AWS_SECRET_ACCESS_KEY
exec python3 "$here/backup.py" "$@"
