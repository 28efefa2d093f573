# shellcheck shell=sh
# Sourced by the other scripts: `secret NAME` exports NAME from the file that NAME_FILE names, if
# there is one, and ends the script if it is then still empty (unless `optional` is said).
secret() {
    file=$(eval "printf %s \"\${$1_FILE:-}\"")
    if [ -n "$file" ]; then
        eval "$1=\$(cat \"\$file\")"
    fi
    if [ -z "$(eval "printf %s \"\${$1:-}\"")" ]; then
        [ "${2:-}" = optional ] && return
        echo "$1 is not set: put it into a file and name that with $1_FILE" >&2
        exit 1
    fi
    export "${1?}"
}
