#!/bin/sh
# Draw the certificate by which the parts of the store know each other and others know the store:
#   docker/certificate.sh FOLDER    writes store_certificate and store_certificate_key, if not there
# It is signed by itself, and is all there is: SeaweedFS answers inside only who has its key
# (store.sh), and clients of the S3 port trust this certificate and no other. Ten years, since like
# a password it holds until somebody draws another: remove both files and start again.
set -eu
folder=$1
umask 077
mkdir -p "$folder"
[ -s "$folder/store_certificate" ] && [ -s "$folder/store_certificate_key" ] && exit
command -v openssl >/dev/null || {
    echo "openssl is not here, which draws the store's certificate: install it" >&2
    exit 1
}
said=$(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 3650 \
    -keyout "$folder/store_certificate_key" -out "$folder/store_certificate" \
    -config /dev/stdin 2>&1 <<'INI'
[req]
prompt = no
distinguished_name = name
x509_extensions = uses
[name]
CN = store
[uses]
subjectAltName = DNS:store, DNS:localhost, IP:127.0.0.1
basicConstraints = critical, CA:true
keyUsage = critical, digitalSignature, keyCertSign
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
INI
) || {
    echo "openssl could not draw the store's certificate: $said" >&2
    exit 1
}
