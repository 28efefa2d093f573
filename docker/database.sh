#!/bin/sh
# Run by the image of PostgreSQL when it makes a new database: the server's user has the password,
# and PostgreSQL's own can no longer be reached from outside the container.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=password="$POSTGRES_PASSWORD" \
    --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --file="$here/database.sql" --file=- <<'SQL'
alter role mlflow password :'password';
alter role current_user password null;
SQL
