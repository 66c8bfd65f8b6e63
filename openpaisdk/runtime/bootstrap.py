# SPDX-License-Identifier: MIT
"""What a task does around its command: unpack sources, install packages, store outputs.

Runs inside the job with nothing but Python 3.6 and its standard library; it travels in the job's archive.

    bootstrap.py fetch ADDRESS FOLDER ...         unpack tar files of a storage, each into its folder
    bootstrap.py start ARCHIVE [-r FILE] PACKAGE  unpack the archive into the current folder, install packages
                                                  and print the shell text that enters their environment
    bootstrap.py store OUTPUT                     store the outputs and what is in $PAI_SDK_JOB_OUTPUT_DIR
"""

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import posixpath
import re
import shlex
import shutil
import site
import sys
import sysconfig
import tarfile
import time
import zlib
from typing import IO, Any, Callable, Iterator

FETCH_FAILED, UNPACK_REFUSED, INSTALL_FAILED, STORE_FAILED = 81, 82, 83, 84
OWN_FOLDER = ".openpaisdk"
"""In the archive, and in the task's folder: what is the SDK's and not the user's."""
PAUSES_S = (1, 2, 4, 8, 15)
TIMEOUT_S = 60
PIECE = 1024 * 1024
MARKER = ".complete"


class Failure(Exception):
    """Ends the program with a message of one line and an exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Unreachable(Exception):
    """Worth another try."""


def say(text: str) -> None:
    sys.stderr.write("openpaisdk: " + text + "\n")
    sys.stderr.flush()


# --- WebHDFS ---------------------------------------------------------------------------------------


class Storage:
    """A folder on storage, by its ``webhdfs://`` address; of several name nodes the active one is asked."""

    def __init__(self, uri: str, token_file: "str | None" = None, user: "str | None" = None) -> None:
        # slow to import, and a task that only starts needs none of it
        import urllib.error
        import urllib.parse
        import urllib.request

        class NoRedirectOfPut(urllib.request.HTTPRedirectHandler):
            """A file is sent where the first reply says."""

            def redirect_request(self, request: Any, *reply: Any) -> Any:
                return None if request.get_method() == "PUT" else super().redirect_request(request, *reply)

        scheme, _, rest = uri.partition("://")
        if scheme not in ("webhdfs", "swebhdfs") or "/" not in rest:
            raise Failure(STORE_FAILED, "storage address " + repr(uri) + " is not webhdfs://host:port/path")
        place, _, path = rest.partition("/")
        owner, _, host = place.rpartition("@")
        web = "https://" if scheme == "swebhdfs" else "http://"
        self.bases = [web + one + "/webhdfs/v1" for one in host.split(",")]
        self.path = ("/" + path).rstrip("/")
        self.login = [("user.name", owner or user)] if owner or user else []
        if token_file:
            with open(token_file, encoding="ascii") as file:
                self.login = [("delegation", file.read().strip())]
        # a proxy cannot reach what listens on this machine only
        name = urllib.parse.urlsplit(self.bases[0]).hostname or ""
        local = name in ("localhost", "::1") or name.startswith("127.")
        handlers = [urllib.request.ProxyHandler({})] if local else []
        self.opener = urllib.request.build_opener(NoRedirectOfPut, *handlers)

    @property
    def base(self) -> str:
        """Where the name node that is asked has its interface."""
        return self.bases[0]

    def shown(self, name: str) -> str:
        """The address of a file for messages: without the token."""
        return self.base + self.path + "/" + name

    def url(self, name: str, operation: str, **options: str) -> str:
        from urllib.parse import quote, urlencode

        query = [("op", operation), *sorted(options.items()), *self.login]
        path = quote(self.path + "/" + name, errors="surrogateescape")
        return self.base + path + "?" + urlencode(query)

    def request(self, method: str, url: str, body: Any = None, size: int = 0) -> Any:
        """Send one request and return the reply; what may pass raises ``Unreachable``."""
        import http.client
        import urllib.error
        import urllib.request

        request = urllib.request.Request(url, data=body, method=method)
        if body is not None:
            request.add_header("Content-Type", "application/octet-stream")
            request.add_header("Content-Length", str(size))
        try:
            return self.opener.open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            if error.code in (301, 302, 303, 307, 308):
                return error
            text = error.read(4096).decode("utf-8", "replace")
            message = "HTTP " + str(error.code) + " " + remote_message(text)
            if error.code in (408, 429) or error.code >= 500 or re.search("Standby|Retriable|SafeMode", text):
                self.turn()
                raise Unreachable(message) from None
            raise Refused(message) from None
        except (OSError, http.client.HTTPException) as error:
            self.turn()
            raise Unreachable(str(getattr(error, "reason", None) or error) or type(error).__name__) from None

    def turn(self) -> None:
        """Ask the next name node from now on."""
        self.bases.append(self.bases.pop(0))

    def write(self, name: str, path: str) -> None:
        """Store a local file, in place of one that is there."""

        def attempt() -> None:
            reply = self.request("PUT", self.url(name, "CREATE", overwrite="true"), b"", 0)
            target = reply.headers.get("Location")
            reply.close()
            if target is None:
                raise Unreachable("the storage said nothing about where to send the file")
            with open(path, "rb") as file:
                self.request("PUT", target, file, os.fstat(file.fileno()).st_size).close()

        persist(attempt)


class Refused(Exception):
    """The storage will not do it, now or later."""


def remote_message(text: str) -> str:
    """The message in a RemoteException body, else the first line of the text."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = json.loads(text)["RemoteException"]["message"]
    return (str(text).strip().splitlines() or [""])[0][:300]


def persist(attempt: "Callable[[], None]") -> None:
    """Try again for half a minute while the storage cannot be reached."""
    for pause in (*PAUSES_S, None):
        try:
            attempt()
            return
        except Unreachable as error:
            if pause is None:
                raise
            say("storage: " + str(error) + "; trying again in " + str(pause) + " s")
            time.sleep(pause)


def copy(source: Any, target: "IO[bytes]") -> int:
    count = 0
    while True:
        data = source.read(PIECE)
        if not data:
            return count
        target.write(data)
        count += len(data)


def open_storage(uri: str) -> Storage:
    """Open a folder; the attempt's token goes to the storage that the job's own folder is on, no other."""
    is_own = place_of(uri)[1] == place_of(os.environ["PAI_SDK_JOB_WORKSPACE"])[1]
    token_file = os.environ.get("PAI_SDK_TOKEN_FILE") if is_own else None
    return Storage(uri, token_file, os.environ.get("PAI_USER_NAME"))


def place_of(uri: str) -> "tuple[str, str]":
    """Where an address leads: ``scheme://user@host:port`` of it, and the ``host:port`` alone."""
    scheme, _, rest = uri.partition("://")
    place = rest.partition("/")[0]
    return scheme + "://" + place, place.rpartition("@")[2]


class RemoteFile:
    """A file on storage as a stream; where it breaks off, it goes on at that place."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.storage = storage
        self.name = name
        self.position = 0
        self.size = 0
        self.reply = None  # type: Any
        self.data = b""
        persist(self.look)

    def look(self) -> None:
        with self.storage.request("GET", self.storage.url(self.name, "GETFILESTATUS")) as reply:
            text = reply.read().decode("utf-8", "replace")
        try:
            status = json.loads(text)["FileStatus"]
            kind, self.size = status["type"], int(status["length"])
        except (ValueError, KeyError, TypeError):
            raise Refused("what answers is no WebHDFS") from None
        if kind != "FILE":
            raise Refused("it is a folder, a tar file was expected")

    def read(self, size: int = PIECE) -> bytes:
        wanted = min(size, self.size - self.position)
        if not wanted:
            return b""
        persist(lambda: self.read_on(wanted))
        self.position += len(self.data)
        return self.data

    def read_on(self, wanted: int) -> None:
        import http.client

        if self.reply is None:
            url = self.storage.url(self.name, "OPEN", offset=str(self.position))
            self.reply = self.storage.request("GET", url)
        try:
            self.data = self.reply.read(wanted)
        except (OSError, http.client.HTTPException) as error:
            self.data, reason = b"", str(error) or type(error).__name__
        else:
            reason = "the storage broke off in the middle"
        if not self.data:
            self.close()
            raise Unreachable(reason)

    def close(self) -> None:
        if self.reply is not None:
            self.reply.close()
            self.reply = None


# --- sources -----------------------------------------------------------------------------------------


def unpack(file: "IO[bytes]", folder: str) -> None:
    """Unpack an archive into ``folder``; nothing is written unless all of it stays inside."""
    root = os.path.realpath(folder)
    try:
        with tarfile.open(fileobj=file, mode="r:gz") as archive:
            for member in archive:
                check_member(member)
            members = [member for member in archive.getmembers() if not is_own(member.name)]
            for member in members:
                if not member.issym():
                    extract(archive, member, root)
            links = [member for member in members if member.issym()]
            for member in links:
                make_link(member, root)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise Failure(UNPACK_REFUSED, "cannot unpack the sources: " + str(error)) from None
    check_chains(links, root)


def check_chains(links: "list[tarfile.TarInfo]", root: str) -> None:
    """Remove, and refuse, a link that leads out of the folder by way of others."""
    for member in links:
        # each link alone stays inside, a chain of them might not
        path = os.path.join(root, member.name)
        if not is_inside(os.path.realpath(path), root):
            os.unlink(path)
            raise refusal(member, "is a link that leads out of the folder")


def is_own(name: str) -> bool:
    """Whether a name is in the SDK's folder."""
    return posixpath.normpath(name).split("/", 1)[0] == OWN_FOLDER


def check_member(member: tarfile.TarInfo) -> None:
    name = member.name
    if name.startswith("/") or ".." in name.split("/"):
        raise refusal(member, "would be written outside of the folder")
    if member.issym():
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        if member.linkname.startswith("/") or inside == ".." or inside.startswith("../"):
            raise refusal(member, "is a link to " + repr(member.linkname) + ", out of the folder")
    elif not (member.isfile() or member.isdir()):
        raise refusal(member, "is neither file, folder nor symbolic link")


def refusal(member: tarfile.TarInfo, what: str) -> Failure:
    return Failure(UNPACK_REFUSED, "the sources are refused: " + repr(member.name) + " " + what)


def is_inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def extract(archive: tarfile.TarFile, member: tarfile.TarInfo, root: str) -> None:
    path = os.path.join(root, member.name)
    if not is_inside(os.path.realpath(path if member.isdir() else os.path.dirname(path)), root):
        raise refusal(member, "would be written through a link, out of the folder")
    if member.isdir():
        os.makedirs(path, exist_ok=True)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.islink(path):
        os.unlink(path)
    with open(path, "wb") as target:
        copy(archive.extractfile(member), target)
        os.fchmod(target.fileno(), 0o755 if member.mode & 0o100 else 0o644)


def make_link(member: tarfile.TarInfo, root: str) -> None:
    path = os.path.join(root, member.name)
    if not is_inside(os.path.realpath(os.path.dirname(path)), root):
        raise refusal(member, "would be written through a link, out of the folder")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    os.symlink(member.linkname, path)


# --- archives on a storage ------------------------------------------------------------------------------


def fetch(arguments: "list[str]") -> None:
    """Unpack tar files, each into a folder below the current one; address and folder take turns."""
    for at in range(0, len(arguments) - 1, 2):
        fetch_archive(arguments[at], arguments[at + 1])


def fetch_archive(address: str, folder: str) -> None:
    say("fetching " + address + " into " + folder + "/")
    if not is_inside(os.path.realpath(folder), os.path.realpath(os.getcwd())):
        raise Failure(UNPACK_REFUSED, repr(folder) + " is a link that leads out of the task's folder")
    if address.startswith("hdfs:///"):
        # on the storage that the job's own folder is on
        address = place_of(os.environ["PAI_SDK_JOB_WORKSPACE"])[0] + address[len("hdfs://") :]
    above, _, name = address.rpartition("/")
    try:
        with contextlib.closing(RemoteFile(open_storage(above + "/"), name)) as file:
            unpack_stream(decompressed(file, name), folder)
    except (Unreachable, Refused) as error:
        raise Failure(FETCH_FAILED, "cannot fetch " + address + ": " + str(error)) from None


def decompressed(file: Any, name: str) -> Any:
    """Return the stream to unpack; ``tarfile`` itself knows gzip, and from Python 3.14 on zstd."""
    if not name.endswith((".zst", ".tzst")) or sys.version_info >= (3, 14):
        return file
    try:
        import zstandard
    except ImportError:
        what = "%r needs zstd, which Python %d.%d has not" % (name, *sys.version_info[:2])
        hint = "; take an image with Python 3.14 or its package zstandard, or store it as .tar or .tar.gz"
        raise Failure(UNPACK_REFUSED, what + hint) from None
    return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)


def unpack_stream(file: Any, folder: str) -> None:
    """Unpack an archive as it arrives; nothing of it leads out of ``folder``."""
    root = os.path.realpath(folder)
    links = []
    try:
        os.makedirs(root, exist_ok=True)
        with tarfile.open(fileobj=file, mode="r|*", bufsize=PIECE // 4) as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]
                member.name, member.linkname = native(member.name), native(member.linkname)
                if member.islnk():
                    copy_again(member, root)
                    continue
                check_member(member)
                if member.issym():
                    links.append(member)
                else:
                    extract(archive, member, root)
        for member in links:
            make_link(member, root)
    except (Failure, Unreachable, Refused):
        raise
    except Exception as error:  # of whichever decompressor
        raise Failure(UNPACK_REFUSED, "cannot unpack the archive: " + str(error)) from None
    check_chains(links, root)


def native(name: str) -> str:
    """Return a name as this system takes it: in pax headers they are UTF-8, whatever the locale."""
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def copy_again(member: tarfile.TarInfo, root: str) -> None:
    """Make a file that is another name of one before it."""
    for name in (member.name, member.linkname):
        if name.startswith("/") or ".." in name.split("/"):
            raise refusal(member, "would be written outside of the folder, or is a link out of it")
    source, path = os.path.join(root, member.linkname), os.path.join(root, member.name)
    for one in (os.path.realpath(source), os.path.realpath(os.path.dirname(path))):
        if not is_inside(one, root):
            raise refusal(member, "would be written through a link, out of the folder")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    shutil.copy(source, path)


# --- packages ----------------------------------------------------------------------------------------


def install(arguments: "list[str]", folder: str) -> str:
    """Make the task's own environment in ``folder`` and return the shell text that enters it.

    It lies over an environment of the cache, made now or found there, and that over the interpreter's
    packages: what the task itself installs goes into its own and is seen by no other task.
    """
    files = [arguments[at + 1] for at, word in enumerate(arguments) if word == "-r"]
    packages = [
        word for at, word in enumerate(arguments) if word != "-r" and (at == 0 or arguments[at - 1] != "-r")
    ]
    contents, is_private = read_requirements(files)
    wanted = sorted(set(packages))
    programs = [os.path.join(folder, "bin")]
    shutil.rmtree(folder, ignore_errors=True)
    try:
        if is_private or any(is_local(package) for package in wanted):
            # what is installed from the task's own folder is gone when the task is
            make_environment(folder, outer_folders())
            fill(folder, files, packages)
        else:
            key = hashlib.sha256(json.dumps([3, interpreter(), wanted, contents]).encode()).hexdigest()[:32]
            shared = cached(os.path.join(cache_folder(), "venvs"), key, files, packages)
            make_environment(folder, [site_packages(shared), *outer_folders()])
            programs.append(os.path.join(shared, "bin"))
        add_pip(folder)
    except OSError as error:
        raise Failure(INSTALL_FAILED, "cannot make an environment: " + str(error)) from None
    text = 'export VIRTUAL_ENV=%s\nexport PATH=%s:"$PATH"\nunset PYTHONHOME\nhash -r\n'
    return text % (shlex.quote(folder), shlex.quote(":".join(programs)))


def cache_folder() -> str:
    own = os.environ.get("PAI_SDK_CACHE_DIR")
    if own:
        return own
    shared = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(shared, "openpaisdk")


def interpreter() -> "list[Any]":
    """What an environment depends on beside its packages."""
    return [
        sys.implementation.name,
        list(sys.version_info[:3]),
        sys.prefix,
        sys.base_prefix,
        os.uname().machine,
        outer_folders(),
        sees_base(),
    ]


def outer_folders() -> "list[str]":
    """Folders of the interpreter's own packages, when it stands in a virtual environment itself."""
    return site.getsitepackages() if sys.prefix != sys.base_prefix else []


def sees_base() -> bool:
    """Whether the interpreter sees the packages of the installation below it, as an environment may not."""
    if sys.prefix == sys.base_prefix:
        return True
    try:
        with open(os.path.join(sys.prefix, "pyvenv.cfg"), encoding="utf-8") as file:
            return re.search(r"(?mi)^include-system-site-packages\s*=\s*true", file.read()) is not None
    except OSError:
        return True


def read_requirements(files: "list[str]") -> "tuple[list[str], bool]":
    """Return the contents of requirement files with those they include, and whether they name local paths."""
    contents = []  # type: list[str]
    is_private = False
    seen = set()  # type: set[str]
    queue = list(files)
    while queue:
        name = os.path.normpath(queue.pop(0))
        if name in seen:
            continue
        seen.add(name)
        try:
            with open(name, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
        except OSError as error:
            raise Failure(INSTALL_FAILED, "cannot read " + name + ": " + str(error.strerror)) from None
        contents.append(re.sub("[\ud800-\udfff]", "?", text))
        for text_line in text.replace("\\\n", "").splitlines():
            line = re.sub(r"(^|\s)#.*", "", text_line).strip()
            included = re.match(r"(?:-r|-c|--requirement|--constraint)(?:\s+|=|(?=[^\s-]))(\S+)", line)
            if included and "://" not in included.group(1):
                queue.append(os.path.join(os.path.dirname(name), included.group(1)))
            elif is_local(line):
                is_private = True
    return contents, is_private


def is_local(requirement: str) -> bool:
    """Whether a requirement is a path or an editable install rather than a package of an index."""
    if re.match(r"(-e|--editable)\b", requirement) or re.search(r"(^|\s|@\s*)file:", requirement):
        return True
    if requirement.startswith("-") or not requirement:
        return False
    if requirement.startswith((".", "/", "~")):
        return True
    path = requirement.partition(";")[0].strip()
    return ("/" in path or path.endswith((".whl", ".zip", "gz", "bz2", "xz"))) and os.path.exists(path)


def cached(parent: str, key: str, files: "list[str]", packages: "list[str]") -> str:
    """Return the environment ``key`` of the cache; of several tasks one builds it and the others wait."""
    folder = os.path.join(parent, key)
    try:
        os.makedirs(parent, mode=0o700, exist_ok=True)
        lock = open(folder + ".lock", "w")  # noqa: SIM115
    except OSError as error:
        what = "cannot write the cache " + parent
        raise Failure(INSTALL_FAILED, what + ": " + str(error.strerror)) from None
    with lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(folder, MARKER)):
            # without the marker it is what a crash has left
            shutil.rmtree(folder, ignore_errors=True)
            try:
                make_environment(folder, outer_folders())
                fill(folder, files, packages)
                share_programs(folder)
                with open(os.path.join(folder, MARKER), "w"):
                    pass
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
    return folder


def make_environment(folder: str, behind: "list[str]") -> None:
    """Make a virtual environment that sees the packages in the folders ``behind``, in milliseconds."""
    python = base_python()
    programs, packages = os.path.join(folder, "bin"), site_packages(folder)
    os.makedirs(programs)
    os.makedirs(packages)
    os.symlink(python, os.path.join(programs, "python"))
    for name in ("python3", "python%d.%d" % sys.version_info[:2]):
        os.symlink("python", os.path.join(programs, name))
    os.symlink("lib", os.path.join(folder, "lib64"))
    settings = [
        "home = " + os.path.dirname(python),
        "include-system-site-packages = " + ("true" if sees_base() else "false"),
        "version = %d.%d.%d" % sys.version_info[:3],
    ]
    write(os.path.join(folder, "pyvenv.cfg"), "\n".join(settings) + "\n")
    if behind:
        # addsitedir heeds the .pth files there too
        line = "import site; list(map(site.addsitedir, %r))\n" % (behind,)
        write(os.path.join(packages, "openpaisdk-behind.pth"), line)


def base_python() -> str:
    """The interpreter below this one's virtual environment, which knows where its standard library is."""
    if sys.prefix == sys.base_prefix:
        return sys.executable
    path = os.path.join(sys.base_prefix, "bin", "python%d.%d" % sys.version_info[:2])
    return path if os.path.exists(path) else str(getattr(sys, "_base_executable", sys.executable))


def site_packages(folder: str) -> str:
    """Where the packages of the environment ``folder`` are."""
    scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
    return sysconfig.get_path("purelib", scheme, {"base": folder, "platbase": folder})


def write(path: str, text: str, mode: int = 0o644) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.chmod(path, mode)


def add_pip(folder: str) -> None:
    """Let ``pip`` be that of the task's environment, not of one that is behind it."""
    python = os.path.join(folder, "bin", "python3")
    for name in ("pip", "pip3", "pip%d.%d" % sys.version_info[:2]):
        path = os.path.join(folder, "bin", name)
        if not os.path.exists(path):
            write(path, '#!/bin/sh\nexec %s -m pip "$@"\n' % shlex.quote(python), 0o755)


def share_programs(folder: str) -> None:
    """Let programs of a cached environment run in that of the task that calls them."""
    programs = os.path.join(folder, "bin")
    own = re.compile(rb'"?' + re.escape(os.fsencode(programs)) + rb'/python[0-9.]*"?')
    for name in os.listdir(programs):
        path = os.path.join(programs, name)
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        with open(path, "rb") as file:
            text = file.read()
        first, separator, rest = text.partition(b"\n")
        if first == b"#!/bin/sh":
            # a path that is too long or has spaces stands in the second line
            second, separator, rest = rest.partition(b"\n")
            first += b"\n" + second
        changed = own.sub(b"/usr/bin/env python3", first, count=1) if first.startswith(b"#!") else first
        if changed != first:
            with open(path, "wb") as file:
                file.write(changed + separator + rest)


def fill(folder: str, files: "list[str]", packages: "list[str]") -> None:
    """Let pip install into an environment."""
    import subprocess

    say("installing " + ", ".join(list(files) + list(packages)))
    begun = time.time()
    command = pip_command(sys.executable, os.path.join(folder, "bin", "python3"))
    for name in files:
        command += ["-r", name]
    # a package named like an option must not become one
    command += ["--", *packages] if packages else []
    status = subprocess.call(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=pip_environment())
    if status != 0:
        raise Failure(INSTALL_FAILED, "pip could not install the packages (exit code %d, see above)" % status)
    say("installed in %.1f s" % (time.time() - begun))


def pip_command(own: str, python: str) -> "list[str]":
    """Return how to call pip for an environment: the interpreter's own pip, else one put into it."""
    import subprocess

    options = ["--disable-pip-version-check", "--no-input"]
    install_options = ["install", "--progress-bar", "off", "--no-warn-script-location"]
    version = subprocess.run(
        [own, "-m", "pip", "--version"],
        check=False,
        env=pip_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    found = re.match(rb"pip (\d+)\.(\d+)", version.stdout)
    if found and (int(found.group(1)), int(found.group(2))) >= (22, 3):
        return [own, "-m", "pip", "--python", python, *options, *install_options]
    # -I: an older pip of the outer packages must not be in the way
    put = [python, "-I", "-m", "ensurepip", "--default-pip"]
    if subprocess.call(put, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) != 0 and not found:
        raise Failure(INSTALL_FAILED, "there is neither pip nor ensurepip in this image, packages need one")
    return [python, "-m", "pip", *options, *install_options]


def pip_environment() -> "dict[str, str]":
    """The task's variables without those that would let pip install elsewhere, or look elsewhere."""
    other = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONPATH", "PYTHONHOME")
    return {name: value for name, value in os.environ.items() if name not in other}


# --- outputs -----------------------------------------------------------------------------------------


def store(names: "list[str]") -> None:
    """Store declared outputs and all of the output folder; those that are missing are said, and left out."""
    storage = open_storage(os.environ["PAI_SDK_JOB_OUTPUT_URI"])
    count = 0
    failed = []
    for path, name in outputs(os.getcwd(), names, os.environ.get("PAI_SDK_JOB_OUTPUT_DIR")):
        try:
            storage.write(name, path)
            count += 1
        except (Unreachable, Refused, OSError) as error:
            failed.append(name)
            say("cannot store output " + repr(name) + ": " + str(error))
            if isinstance(error, Unreachable):
                break
    if count:
        say("stored %d output file%s in %s" % (count, "" if count == 1 else "s", storage.shown("")))
    if failed:
        raise Failure(STORE_FAILED, "not all outputs could be stored")


def outputs(work: str, names: "list[str]", folder: "str | None") -> "Iterator[tuple[str, str]]":
    """Give path and name of each file to store."""
    for name in names:
        if any(character in name for character in "*?["):
            found = sorted(glob.glob(os.path.join(glob.escape(work), name), recursive=True))
        else:
            found = [os.path.join(work, name)]
        found = [path for path in found if os.path.lexists(path)]
        if not found:
            say("output " + repr(name) + " is not there")
        for path in found:
            for item in files_below(path, work):
                yield item
    if folder and os.path.isdir(folder):
        for item in files_below(folder, folder):
            yield item


def files_below(path: str, root: str) -> "Iterator[tuple[str, str]]":
    if os.path.isdir(path) and (path == root or not os.path.islink(path)):
        paths = [os.path.join(top, name) for top, _, names in sorted(os.walk(path)) for name in sorted(names)]
    else:
        paths = [path]
    for one in paths:
        name = os.path.relpath(one, root)
        if is_own(name):
            continue
        if not is_inside(os.path.realpath(one), os.path.realpath(root)):
            say("output " + repr(name) + " is a link that leads out of the task's folder")
        elif not os.path.isfile(one):
            say("output " + repr(name) + " is no file")
        else:
            yield one, name


def start(arguments: "list[str]") -> str:
    """Unpack the archive that is named first, install the other arguments; return what the shell is to do."""
    work, own = os.getcwd(), os.path.dirname(os.path.abspath(__file__))
    with open(arguments[0], "rb") as file:
        unpack(file, work)
    return install(arguments[1:], os.path.join(own, "venv")) if arguments[1:] else ""


def main(arguments: "list[str]") -> int:
    """Do what the first word says; return the exit code."""
    try:
        if arguments[:1] == ["fetch"]:
            fetch(arguments[1:])
        elif arguments[:1] == ["start"]:
            sys.stdout.buffer.write(os.fsencode(start(arguments[1:])))
        elif arguments[:1] == ["store"]:
            store(arguments[1:])
        else:
            raise Failure(2, "expected fetch, start or store")
    except Failure as failure:
        say(str(failure))
        return failure.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
