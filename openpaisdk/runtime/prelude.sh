# SPDX-License-Identifier: MIT
# Stands before a job's own commands, in their bash (errexit, nounset and pipefail are on), on a real cluster
# and on the embedded one. Set before: paisdk_workspace (address of the workspace, or empty where the platform
# sets the variables), paisdk_archive (name of the archive with the job's files), paisdk_output (folder below
# the job's), paisdk_install (words for pip), paisdk_outputs (what to store), and where there are archives on a
# storage paisdk_archives (of each its address and its folder).
# It fetches the archive and goes on with the start.sh in it, which may be of another version: what start.sh
# uses of here (these variables, paisdk_folder, paisdk_python, paisdk_say, paisdk_url) stays as it is.
# An address may name several name nodes (nn1:9870,nn2:9870), of which one is active: paisdk_node numbers them.

paisdk_say() { printf 'openpaisdk: %s\n' "$*" >&2; }
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
# paisdk_url webhdfs://… OPERATION: the address may hold a token, so it goes through pipes only
paisdk_node=0
paisdk_url() {
  local rest=${1#*://} scheme=http host login commas number
  case $1 in swebhdfs://*) scheme=https ;; esac
  host=${rest%%/*} login="user.name=$(paisdk_encode "${PAI_USER_NAME:-}")"
  case $host in *@*) login="user.name=$(paisdk_encode "${host%@*}")"; host=${host##*@} ;; esac
  commas=${host//[^,]/} number=$((paisdk_node % (${#commas} + 1)))
  while [ $number -gt 0 ]; do host=${host#*,} number=$((number - 1)); done
  host=${host%%,*}
  [ -z "${PAI_SDK_TOKEN_FILE:-}" ] || login="delegation=$(paisdk_encode "$(<"$PAI_SDK_TOKEN_FILE")")"
  printf '%s://%s/webhdfs/v1%s?op=%s&%s' "$scheme" "$host" "$(paisdk_encode "/${rest#*/}")" "$2" "$login"
}
# Reads an address, writes what is there to $1, takes the programs for the task out of it, prints a status.
paisdk_get() {
  case $PAI_SDK_JOB_WORKSPACE in *://127.*|*://localhost[:/]*) export no_proxy='*' NO_PROXY='*' ;; esac
  if [ -n "$paisdk_has_curl" ]; then
    { printf 'url = "'; cat; printf '"\n'; } | curl -q -K - -sSL --connect-timeout 10 --speed-limit 1 \
      --speed-time 60 -w '%{http_code}' -o "$1" || return
    local name
    for name in start.sh bootstrap.py; do  # they stand first: the rest need not be read for them
      head -c 100000 "$1" | tar -xzOf - ".openpaisdk/$name" 2>/dev/null > "$paisdk_folder/$name" || true
    done
    return
  fi
  "$paisdk_python" -I -c '
import os, shutil, sys, tarfile, urllib.error, urllib.request
try:
    with urllib.request.urlopen(sys.stdin.read(), timeout=60) as reply, open(sys.argv[1], "wb") as file:
        shutil.copyfileobj(reply, file, 1 << 20)
        if reply.length:
            raise OSError("the storage broke off in the middle")
    print(200)
except urllib.error.HTTPError as error:
    sys.exit(print(error.code))
except Exception as error:
    sys.exit("openpaisdk: " + str(error))
try:
    with tarfile.open(sys.argv[1]) as archive:
        for name in ("start.sh", "bootstrap.py"):
            member = archive.next()
            if member is None or member.name != ".openpaisdk/" + name:
                break
            with open(os.path.join(sys.argv[2], name), "wb") as file:
                shutil.copyfileobj(archive.extractfile(member), file)
except Exception as error:
    print("openpaisdk: " + str(error), file=sys.stderr)
' "$1" "$paisdk_folder"
}
paisdk_folder=$PWD/.openpaisdk
mkdir -p "$paisdk_folder" 2>/dev/null || paisdk_folder=$(mktemp -d)
[ -n "${PAI_SDK_JOB_WORKSPACE:-}" ] || PAI_SDK_JOB_WORKSPACE=$paisdk_workspace/jobs/${PAI_JOB_NAME#*~}
export PAI_SDK_JOB_WORKSPACE
paisdk_hosts=${PAI_SDK_JOB_WORKSPACE#*://} paisdk_hosts=${paisdk_hosts%%/*}
paisdk_from=$PAI_SDK_JOB_WORKSPACE/code/$paisdk_archive
paisdk_python=
for paisdk_try in python3 python; do
  if "$paisdk_try" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>/dev/null; then
    paisdk_python=$(command -v "$paisdk_try")
    break
  fi
done
paisdk_has_curl=
if command -v curl >/dev/null && command -v tar >/dev/null; then paisdk_has_curl=1; fi  # faster than Python
if [ -z "$paisdk_python$paisdk_has_curl" ]; then
  paisdk_say "this image has neither Python 3.6 nor curl and tar, the job's files need one of them"; exit 81
fi
for paisdk_pause in 1 2 4 8 15 0; do
  paisdk_status=$(paisdk_url "$paisdk_from" OPEN | paisdk_get "$paisdk_folder/archive") || paisdk_status=000
  case $paisdk_status:$paisdk_hosts in
    2*) break ;;
    403:*,*) ;;  # on standby
    40[0-7]:*|41*) paisdk_pause=0 ;;
  esac
  paisdk_node=$((paisdk_node + 1))
  if [ $paisdk_pause = 0 ]; then paisdk_say "cannot fetch $paisdk_from: HTTP $paisdk_status"; exit 81; fi
  paisdk_say "storage: HTTP $paisdk_status, trying again in $paisdk_pause s"
  sleep $paisdk_pause
done
[ -s "$paisdk_folder/start.sh" ] || { paisdk_say "cannot unpack $paisdk_from"; exit 82; }
. "$paisdk_folder/start.sh"
