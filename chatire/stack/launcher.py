"""Runs a command that dies with its parent: `python launcher.py PARENT SIGNAL UID GID COMMAND...`

Started as a file by `process.Process`, in place of a `preexec_fn`, which is unsafe in a process
that has threads. UID and GID are -1 to keep those of the parent. Standard library only.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main() -> None:
    parent, death_signal, uid, gid = (int(argument) for argument in sys.argv[1:5])
    command = sys.argv[5:]
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After setuid, which clears it; it survives exec.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            sys.exit(f"launcher: prctl: {os.strerror(ctypes.get_errno())}")
        if os.getppid() != parent:  # it died before we could ask to be told
            sys.exit(1)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
