# SPDX-License-Identifier: MIT
# Goes on where prelude.sh ends, in the same bash: unpacks the job's files, installs its packages, and sees to it
# that outputs are stored. Travels in the job's archive, as .openpaisdk/start.sh.
paisdk_home=$PWD
[ -n "${PAI_SDK_JOB_OUTPUT_URI:-}" ] || PAI_SDK_JOB_OUTPUT_URI=$PAI_SDK_JOB_WORKSPACE/$paisdk_output
[ -n "${PAI_SDK_JOB_OUTPUT_DIR:-}" ] || PAI_SDK_JOB_OUTPUT_DIR=$paisdk_folder/output
mkdir -p "$PAI_SDK_JOB_OUTPUT_DIR"
export PAI_SDK_JOB_OUTPUT_URI PAI_SDK_JOB_OUTPUT_DIR
paisdk_run() { "$paisdk_python" -I "$paisdk_folder/bootstrap.py" "$@"; }

# --- without Python: curl and tar ---------------------------------------------------------------------

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
paisdk_tar_unpack() {
  local archive=$1 stage=$paisdk_folder/stage names=$paisdk_folder/names name target part depth
  tar -tzf "$archive" > "$names" || { paisdk_say "cannot unpack the sources"; return 82; }
  while IFS= read -r name; do
    case /$name/ in //*|*/../*)
      paisdk_say "the sources are refused: '$name' would be written outside of the folder"; return 82 ;;
    esac
  done < "$names"
  mkdir "$stage" && tar -xzof "$archive" -C "$stage" || { paisdk_say "cannot unpack the sources"; return 82; }
  rm -rf "$stage/.openpaisdk"
  find "$stage" ! -type l ! -type d ! -type f > "$names"
  if [ -s "$names" ]; then paisdk_say "the sources are refused: they hold special files"; return 82; fi
  find "$stage" -type l -print0 > "$names"
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
  done < "$names"
  cp -a "$stage/." "$paisdk_home" || { paisdk_say "cannot unpack the sources"; return 82; }
  rm -rf "$stage"
}
paisdk_curl_file() {
  local to reply again
  for again in 1 2 0; do
    to=$(paisdk_url "$PAI_SDK_JOB_OUTPUT_URI/$2" 'CREATE&overwrite=true')
    if reply=$(paisdk_curl "$to" -X PUT -o /dev/null); then break; fi
    case $again:${paisdk_hosts-} in 0:*) return 1 ;; *,*) paisdk_node=$((paisdk_node + 1)) ;; *) return 1 ;; esac
  done
  case ${reply#* } in
    http*) paisdk_curl "${reply#* }" -T "$1" -H Expect: -o /dev/null >/dev/null ;;
    *) return 1 ;;
  esac
}
paisdk_curl_store() {
  local name path failed=0 found names=$paisdk_folder/names
  shopt -s nullglob globstar
  for name in "$@"; do
    local IFS=
    found=($name)
    unset IFS
    case $name in *[*?[]*) ;; *) if [ -e "$name" ]; then found=("$name"); else found=(); fi ;; esac
    [ ${#found[@]} -gt 0 ] || paisdk_say "output '$name' is not there"
    for path in ${found[@]+"${found[@]}"}; do
      case $path in .openpaisdk|.openpaisdk/*) ;; *) find "$path" -type f -print0 ;; esac
    done
  done > "$names"
  while IFS= read -r -d '' path; do
    paisdk_curl_file "$path" "$path" </dev/null || { failed=1; paisdk_say "cannot store output '$path'"; }
  done < "$names"
  find "$PAI_SDK_JOB_OUTPUT_DIR" -type f -print0 > "$names"
  while IFS= read -r -d '' path; do
    name=${path#"$PAI_SDK_JOB_OUTPUT_DIR"/}
    paisdk_curl_file "$path" "$name" </dev/null || { failed=1; paisdk_say "cannot store output '$name'"; }
  done < "$names"
  [ "$failed" = 0 ] || return 84
}

# --- the end of the task -------------------------------------------------------------------------------

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
  rm -rf "$paisdk_folder"
  [ "$code" != 0 ] || code=$stored
  exit "$code"
}
[ -n "${PAI_SDK_SERVER_STORES_OUTPUTS:-}" ] || trap paisdk_end EXIT

# --- the beginning of the task -------------------------------------------------------------------------

if [ -n "${paisdk_archives[*]-}" ]; then
  if [ -z "$paisdk_python" ]; then paisdk_say "this image has no Python 3.6 or later, archives need it"; exit 81; fi
  paisdk_run fetch "${paisdk_archives[@]}"
fi
if [ -n "$paisdk_python" ]; then
  paisdk_enter=$(paisdk_run start "$paisdk_folder/archive" ${paisdk_install[@]+"${paisdk_install[@]}"})
  eval "$paisdk_enter"
elif [ ${#paisdk_install[@]} -gt 0 ]; then
  paisdk_say "this image has no Python 3.6 or later, packages need it"; exit 83
else
  paisdk_tar_unpack "$paisdk_folder/archive"
fi
rm -f "$paisdk_folder/archive" "$paisdk_folder/names"
if [ -n "${PAI_SDK_SERVER_STORES_OUTPUTS:-}" ]; then
  rm -f "$paisdk_folder/start.sh" "$paisdk_folder/bootstrap.py"
  rmdir "$paisdk_folder" 2>/dev/null || true  # an environment of the task's own stays
fi
