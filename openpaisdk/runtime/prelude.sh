# SPDX-License-Identifier: MIT
# Runs before a job's own commands, in their bash (errexit, nounset and pipefail are on), on a real cluster
# and on the embedded one. Set before: paisdk_workspace (address of the workspace, or empty where the
# platform sets the variables), paisdk_output (folder below the job's), paisdk_code (1: there are sources),
# paisdk_install (words for pip), paisdk_outputs (what to store), paisdk_bootstrap (text of bootstrap.py).
# Comments of whole lines are left out of documents.
paisdk_say() { printf 'openpaisdk: %s\n' "$*" >&2; }
paisdk_home=$PWD
paisdk_temp=$(mktemp -d "${TMPDIR:-/tmp}/openpaisdk-XXXXXX")
if [ -z "${PAI_SDK_JOB_WORKSPACE:-}" ] && [ -n "$paisdk_workspace" ]; then
  export PAI_SDK_JOB_WORKSPACE="$paisdk_workspace/jobs/${PAI_JOB_NAME#*~}"
fi
if [ -z "${PAI_SDK_JOB_OUTPUT_URI:-}" ] && [ -n "${PAI_SDK_JOB_WORKSPACE:-}" ]; then
  export PAI_SDK_JOB_OUTPUT_URI="$PAI_SDK_JOB_WORKSPACE/$paisdk_output"
fi
if [ -z "${PAI_SDK_JOB_OUTPUT_DIR:-}" ]; then
  export PAI_SDK_JOB_OUTPUT_DIR="$paisdk_temp/output"
  mkdir "$PAI_SDK_JOB_OUTPUT_DIR"
fi
paisdk_python=
for paisdk_try in python3 python; do
  if "$paisdk_try" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>/dev/null; then
    paisdk_python=$(command -v "$paisdk_try")
    printf '%s\n' "$paisdk_bootstrap" > "$paisdk_temp/bootstrap.py"
    break
  fi
done
unset paisdk_bootstrap
paisdk_run() { "$paisdk_python" -I "$paisdk_temp/bootstrap.py" "$@"; }
paisdk_encode() {
  local LC_ALL=C text=$1 at one number
  for ((at = 0; at < ${#text}; at++)); do
    one=${text:at:1}
    case $one in
      [a-zA-Z0-9/._~-]) printf %s "$one" ;;
      *) printf -v number %d "'$one"; printf '%%%02X' $((number & 255)) ;;
    esac
  done
}
# The address may hold a token: it reaches curl by its standard input, never by the command line.
paisdk_url() {
  local rest=${1#*://} scheme=http host path login
  case $1 in swebhdfs://*) scheme=https ;; esac
  host=${rest%%/*} path=/${rest#*/}
  login="user.name=$(paisdk_encode "${PAI_USER_NAME:-}")"
  case $host in *@*) login="user.name=$(paisdk_encode "${host%@*}")"; host=${host##*@} ;; esac
  [ -z "${PAI_SDK_TOKEN_FILE:-}" ] || login="delegation=$(paisdk_encode "$(<"$PAI_SDK_TOKEN_FILE")")"
  printf '%s://%s/webhdfs/v1%s?op=%s&%s' "$scheme" "$host" "$(paisdk_encode "$path")" "$2" "$login"
}
# paisdk_curl ADDRESS OPTION...: prints the reply's status and where it redirects to; tries again for a while
paisdk_curl() {
  local url=$1 reply code pause noproxy=
  shift
  case $url in *://127.*|*://localhost[:/]*) noproxy='noproxy = "*"' ;; esac
  for pause in 1 2 4 8 15 0; do
    code=0
    reply=$(printf 'url = "%s"\n%s\n' "$url" "$noproxy" | curl -q -K - -sS --connect-timeout 10 \
      --speed-limit 1 --speed-time 60 -w '%{http_code} %{redirect_url}' "$@") || code=$?
    case $code:$reply in
      0:2*|0:3*) printf %s "$reply"; return 0 ;;
      23:*|26:*|0:40[0-7]*|0:41*) break ;;
    esac
    [ "$pause" = 0 ] || { paisdk_say "storage: HTTP ${reply%% *}, curl $code; trying again in $pause s"; sleep "$pause"; }
  done
  paisdk_say "storage: HTTP ${reply%% *}, curl exit code $code"
  return 1
}
paisdk_curl_fetch() {
  local from=$PAI_SDK_JOB_WORKSPACE/code/sources.tar.gz archive=$paisdk_temp/sources.tar.gz
  local stage=$paisdk_temp/stage name target part depth
  if ! command -v curl >/dev/null || ! command -v tar >/dev/null; then
    paisdk_say "this image has neither Python 3.6 nor curl and tar, sources need one of them"; return 81
  fi
  paisdk_curl "$(paisdk_url "$from" OPEN)" -L -o "$archive" >/dev/null || {
    paisdk_say "cannot fetch sources from $from"; return 81; }
  tar -tzf "$archive" > "$paisdk_temp/names" || { paisdk_say "cannot unpack the sources"; return 82; }
  while IFS= read -r name; do
    case /$name/ in //*|*/../*)
      paisdk_say "the sources are refused: '$name' would be written outside of the folder"; return 82 ;;
    esac
  done < "$paisdk_temp/names"
  mkdir "$stage" && tar -xzof "$archive" -C "$stage" || { paisdk_say "cannot unpack the sources"; return 82; }
  find "$stage" ! -type l ! -type d ! -type f > "$paisdk_temp/names"
  if [ -s "$paisdk_temp/names" ]; then paisdk_say "the sources are refused: they hold special files"; return 82; fi
  find "$stage" -type l -print0 > "$paisdk_temp/names"
  while IFS= read -r -d '' name; do
    target=$(readlink -- "$name") name=${name#"$stage/"} depth=0
    set -f; local IFS=/
    for part in ${name%/*}; do [ "$name" = "${name%/*}" ] || depth=$((depth + 1)); done
    for part in $target; do
      case $part in .|'') ;; ..) depth=$((depth - 1)) ;; *) depth=$((depth + 1)) ;; esac
      [ "$depth" -ge 0 ] || break
    done
    unset IFS; set +f
    case $depth:$target in -*|*:/*)
      paisdk_say "the sources are refused: '$name' is a link to '$target', out of the folder"; return 82 ;;
    esac
  done < "$paisdk_temp/names"
  cp -a "$stage/." "$paisdk_home" || { paisdk_say "cannot unpack the sources"; return 82; }
}
paisdk_curl_file() {
  local to reply
  to=$(paisdk_url "$PAI_SDK_JOB_OUTPUT_URI/$2" 'CREATE&overwrite=true')
  reply=$(paisdk_curl "$to" -X PUT -o /dev/null) || return 1
  case ${reply#* } in
    http*) paisdk_curl "${reply#* }" -T "$1" -H Expect: -o /dev/null >/dev/null ;;
    *) return 1 ;;
  esac
}
paisdk_curl_store() {
  local name path failed=0 found
  shopt -s nullglob globstar dotglob
  for name in "$@"; do
    local IFS=
    found=($name)
    unset IFS
    case $name in *[*?[]*) ;; *) if [ -e "$name" ]; then found=("$name"); else found=(); fi ;; esac
    [ ${#found[@]} -gt 0 ] || paisdk_say "output '$name' is not there"
    for path in ${found[@]+"${found[@]}"}; do
      find "$path" -type f -print0
    done
  done > "$paisdk_temp/names"
  while IFS= read -r -d '' path; do
    paisdk_curl_file "$path" "$path" </dev/null || { failed=1; paisdk_say "cannot store output '$path'"; }
  done < "$paisdk_temp/names"
  find "$PAI_SDK_JOB_OUTPUT_DIR" -type f -print0 > "$paisdk_temp/names"
  while IFS= read -r -d '' path; do
    name=${path#"$PAI_SDK_JOB_OUTPUT_DIR"/}
    paisdk_curl_file "$path" "$name" </dev/null || { failed=1; paisdk_say "cannot store output '$name'"; }
  done < "$paisdk_temp/names"
  [ "$failed" = 0 ] || return 84
}
# Where the platform does not store outputs itself, that is done when this shell ends, however it ends.
paisdk_end() {
  local code=$? stored=0
  { set +x; } 2>/dev/null
  set +o errexit +o nounset
  trap - EXIT
  cd "$paisdk_home"
  if [ -n "$paisdk_python" ]; then
    paisdk_run store ${paisdk_outputs[@]+"${paisdk_outputs[@]}"} || stored=$?
  else
    paisdk_curl_store ${paisdk_outputs[@]+"${paisdk_outputs[@]}"} || stored=$?
  fi
  rm -rf "$paisdk_temp"
  [ "$code" != 0 ] || code=$stored
  exit "$code"
}
if [ -z "${PAI_SDK_SERVER_STORES_OUTPUTS:-}" ] && [ -n "${PAI_SDK_JOB_OUTPUT_URI:-}" ]; then
  trap paisdk_end EXIT
else
  trap 'rm -rf "$paisdk_temp"' EXIT
fi
if [ -n "$paisdk_code" ]; then
  if [ -n "$paisdk_python" ]; then paisdk_run fetch; else paisdk_curl_fetch; fi
fi
if [ ${#paisdk_install[@]} -gt 0 ]; then
  if [ -z "$paisdk_python" ]; then
    paisdk_say "this image has no Python 3.6 or later, packages need it"; exit 83
  fi
  paisdk_enter=$(paisdk_run install "${paisdk_install[@]}")
  eval "$paisdk_enter"
fi
if [ -n "${PAI_SDK_SERVER_STORES_OUTPUTS:-}" ]; then rm -rf "$paisdk_temp"; trap - EXIT; fi
