#!/bin/sh
# Draw the secrets of compose.yaml into docker/secrets, those that are not there yet. Compose mounts
# each as a file that the container's user must be able to read; the folder keeps others out.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
mkdir -p "$here/secrets"
chmod 700 "$here/secrets"
for name in database_password store_key store_secret admin_password flask_key; do
    file="$here/secrets/$name"
    [ -s "$file" ] || head -c 24 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' >"$file"
done
"$here/certificate.sh" "$here/secrets"
chmod 444 "$here/secrets"/*
echo "The secrets are in $here/secrets; log in as admin with the password in admin_password."
