# What recipes share. Sourced, not run. Everything written here depends on its input alone: names are sorted, owners are
# root, times are SOURCE_DATE_EPOCH (default: 2025-01-01), so that the digest of an image says what is in it.

: "${SOURCE_DATE_EPOCH:=1735689600}"
export SOURCE_DATE_EPOCH LC_ALL=C

die() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# tar_sorted ARCHIVE DIRECTORY NAME...: packs names of a directory.
tar_sorted() {
  local archive=$1 directory=$2
  shift 2
  tar --create --file "$archive" --directory "$directory" --format=gnu --sort=name --numeric-owner \
    --owner=0 --group=0 --mtime="@$SOURCE_DATE_EPOCH" "$@"
}

# pack_tree DIRECTORY LAYER: a directory as a layer.
pack_tree() {
  tar_sorted "$2" "$1" .
}

sha256() {
  sha256sum "$1" | cut -d' ' -f1
}

# write_archive ARCHIVE NAME LAYER CONFIG: one layer as `docker save` writes it; CONFIG is the object `config`.
write_archive() {
  local archive=$1 name=$2 layer=$3 config=$4 work digest created
  work=$(mktemp -d)
  digest=$(sha256 "$layer")
  created=$(date --utc --date="@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
  mkdir "$work/$digest"
  ln "$layer" "$work/$digest/layer.tar" 2>/dev/null || cp "$layer" "$work/$digest/layer.tar"
  printf '{"architecture":"amd64","os":"linux","created":"%s","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$created" "$config" "$digest" >"$work/config.json"
  mv "$work/config.json" "$work/$(sha256 "$work/config.json").json"
  printf '[{"Config":"%s","RepoTags":["%s"],"Layers":["%s/layer.tar"]}]' \
    "$(basename "$work"/*.json)" "$name" "$digest" >"$work/manifest.json"
  tar_sorted "$archive" "$work" manifest.json "$(basename "$work"/[0-9a-f]*.json)" "$digest"
  rm -rf "$work"
}
