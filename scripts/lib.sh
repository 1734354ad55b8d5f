# Shared by the scripts beside it; sourced from the root of the repository.

# The oldest compiler that builds the workspace: `rust-version` of Cargo.toml.
RUST_FLOOR=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$(basename "$0"): $*"
  exit 1
}

# need_command COMMAND PACKAGE...: installs Debian packages where the command is missing.
need_command() {
  local command=$1
  shift
  command -v "$command" >/dev/null && return
  command -v apt-get >/dev/null || die "$command is missing; install $* (this is no Debian, so you have to)"
  [ "$(id -u)" = 0 ] || die "$command is missing; run as root: apt-get install $*"
  need_package "$@"
  command -v "$command" >/dev/null || die "$command is still missing after the installation of $*"
}

# need_package PACKAGE...: installs Debian packages, asked for or not.
need_package() {
  say "installing $*"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# needs_venv VENV MODULE PACKAGE: a virtual environment below target/ with one package of the Python index.
needs_venv() {
  local venv=target/$1
  "$venv/bin/python" -c "import $2" 2>/dev/null && return
  need_command python3 python3 python3-venv
  python3 -c 'import ensurepip' 2>/dev/null || need_package python3-venv
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet "$3"
}

# A cargo that is new enough, on the PATH or where rustup puts it.
need_rust() {
  local found
  [ -d "${CARGO_HOME:-$HOME/.cargo}/bin" ] && PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
  found=$(rustc --version 2>/dev/null | cut -d' ' -f2 || true)
  if [ -z "$found" ] || ! command -v cargo >/dev/null ||
    [ "$(printf '%s\n' "$RUST_FLOOR" "$found" | sort -V | head -n 1)" != "$RUST_FLOOR" ]; then
    say "Rust $RUST_FLOOR or newer is needed, found: ${found:-none}."
    say "Install it with rustup: see https://rustup.rs, or on Debian 13: apt-get install rustup && rustup default stable"
    exit 1
  fi
}

host_triple() { rustc -vV | sed -n 's/^host: //p'; }

# build_static PACKAGE BIN: fully static, small, into target/TRIPLE/agent/. The explicit --target keeps the flag
# away from procedural macros, which cannot be static.
build_static() {
  RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
    cargo build --locked --profile agent --target "$(host_triple)" -p "$1" --bin "$2"
}

# The new file is there whole or not at all: a running server may execute the old one meanwhile.
install_atomically() {
  install -m 755 "$1" "$2.new"
  mv -f "$2.new" "$2"
}

# A program without interpreter needs nothing of the file system it is executed in.
assert_static() {
  need_command readelf binutils
  ! readelf --program-headers "$1" | grep -q INTERP || die "$1 is not statically linked"
}

# The word by which programs are known that walls can be taken away from: the variable that says which.
WEAKEN_MARK=BULKHEAD_WEAKEN
# The same for places where a test can kill a half (failpoint/); one build has both.
FAILPOINT_MARK=BULKHEAD_FAILPOINT

# Into target/weakened, for negative controls of attacks; fast to build, slow to run, never shipped. One target
# directory of its own: the feature changes what depends on it.
build_weakened() {
  cargo build --locked --target-dir target/weaken -p bulkhead --features weaken
  # The flag for this one program alone: what it depends on need not be built anew.
  cargo rustc --locked --target-dir target/weaken -p bulkhead-agent --bin bulkhead-agent --features weaken -- \
    -C target-feature=+crt-static
  mkdir -p target/weakened
  local program
  for program in bulkhead bulkhead-agent; do
    grep -q "$WEAKEN_MARK" "target/weaken/debug/$program" || die "$program was not weakened"
    install_atomically "target/weaken/debug/$program" "target/weakened/$program"
  done
  grep -q "$FAILPOINT_MARK" target/weakened/bulkhead || die "the weakened program has no failpoints"
  assert_static target/weakened/bulkhead-agent
}

# The last commit whose agent speaks the protocol before ours.
OLDER=6472f71006e89d3265a35ced268af12f6acad466

# False where the history does not reach so far.
has_older() { git cat-file -e "$OLDER" 2>/dev/null; }

# The programs of that commit into target/older/bin: what an upgrade meets. In a target directory of its own: crates with
# the same names at other places would be taken for ours.
build_older() {
  local source=target/older/source build=$PWD/target/older/build
  rm -rf "$source"
  mkdir -p "$source" target/older/bin
  git archive "$OLDER" | tar -x -C "$source"
  cargo build --locked --manifest-path "$source/Cargo.toml" --target-dir "$build" -p bulkhead
  RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" cargo build --locked --manifest-path "$source/Cargo.toml" \
    --target-dir "$build" --target "$(host_triple)" -p bulkhead-agent
  install_atomically "$build/debug/bulkhead" target/older/bin/bulkhead
  install_atomically "$build/$(host_triple)/debug/bulkhead-agent" target/older/bin/bulkhead-agent
  assert_static target/older/bin/bulkhead-agent
}

# Whoever slipped the feature in, and how: such a program is not installed.
assert_not_weakened() {
  ! grep -q "$WEAKEN_MARK" "$1" || die "$1 was built with the feature weaken, which is for attack tests only"
  ! grep -q "$FAILPOINT_MARK" "$1" || die "$1 was built with the feature failpoints, which is for crash tests only"
}
