"""What scripts that run a command and look at what it says share."""
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios

failures = 0


def check(condition, text):
    global failures
    if not condition:
        failures += 1
        print("FAILED:", text)


def finish():
    """The script's exit status."""
    print(f"{failures} failures")
    return failures > 0


def refuse_constant(name):
    """For json.loads(parse_constant=...)."""
    raise ValueError(f"{name} is not JSON")


def check_lines(what, text):
    """A report's text: 100 columns, nothing that a terminal would take for anything but text."""
    for line in text.splitlines():
        check(len(line) <= 100 and line == line.rstrip() and line.isprintable(), f"{what}: {line!r}")


def on_terminal(arguments, *, columns=0, with_errors=True, interrupt_at=None, code=None, **environment):
    """What a command says where standard output is a terminal, of so many columns (0: it does not say), and standard error
    too or nowhere. SIGINT is sent once `interrupt_at` was said."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 25 if columns else 0, columns, 0, 0))
    process = subprocess.Popen([*map(str, arguments)], stdout=writer, stderr=writer if with_errors else subprocess.DEVNULL,
                               env=dict(os.environ, TERM="xterm", **environment))
    os.close(writer)
    said = b""
    while True:
        try:
            piece = os.read(reader, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        said += piece
        if interrupt_at is not None and interrupt_at in said:
            process.send_signal(signal.SIGINT)
            interrupt_at = None
    os.close(reader)
    process.wait()
    check(code is None or process.returncode == code, f"exit {process.returncode} instead of {code}: {said!r}")
    return said.decode()
