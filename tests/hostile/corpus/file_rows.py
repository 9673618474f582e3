"""What is no checkpoint at all, or no file."""
import bz2
import gzip
import lzma
import os

from corpus import pickles
from corpus.rows import TIB, Rows, sparse

ROWS = Rows()
refused = ROWS.refused


def begins(title, message, data):
    refused(title, message, lambda: data)


def special(title, message, make):
    refused(title, message, make, special=True)


RESAVE = ("load it with torch.load in Python and save its state_dict with torch.save; this release reads zip archives "
          "(PyTorch 1.6 and later) and safetensors")
CONVERT = "convert the weights to PyTorch or safetensors first"
DOWNLOAD = "a download that gave a web page instead of the file; fetch it again"
UNPACK = "unpack it first"
UNKNOWN = "an unknown kind of file, beginning with '{}'; a PyTorch checkpoint (zip, legacy stream or tar), safetensors or anx bin was expected"

begins("an empty file", "an empty file", b"")
begins("one byte", UNKNOWN.format("P"), b"P")
begins("nothing but zeros", UNKNOWN.format("\\x00" * 16), bytes(4096))
begins("an escape sequence", UNKNOWN.format("\\x1b[2J\\x1b]0;owned\\x07"),
       b"\x1b[2J\x1b]0;owned\x07")
begins("a web page", f"a web page (HTML): {DOWNLOAD}", b"<!DOCTYPE html><html><body>404</body></html>")
begins("a web page behind white space", f"a web page (HTML): {DOWNLOAD}", b"\xef\xbb\xbf \r\n<HTML>")
begins("a storage server's XML", f"an XML document: {DOWNLOAD}",
       b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>')
begins("JSON", "JSON text", b'{"error": "not found"}')
begins("a Git LFS pointer", "a Git LFS pointer: the file itself was not fetched: run `git lfs pull`",
       b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 244408911\n")
begins("a Keras model", f"an HDF5 file (Keras): {CONVERT}", b"\x89HDF\r\n\x1a\n" + bytes(504))
begins("an ONNX model", "an ONNX model: export the weights from PyTorch instead",
       b"\x08\x07\x12\x07pytorch\x1a\x052.1.0")
begins("a GGUF model", f"a GGUF model: {CONVERT}", b"GGUF\x03\0\0\0" + b"\xff" * 16)
begins("a TensorFlow Lite model", f"a TensorFlow Lite model: {CONVERT}", b"\x1c\0\0\0TFL3" + bytes(20))
begins("a NumPy array", f"a NumPy array: {CONVERT}", b"\x93NUMPY\x01\0v\0{'descr': '<f4'}")
begins("a JPEG image", "a JPEG image: a checkpoint was expected here", b"\xff\xd8\xff\xe0\0\x10JFIF\0")
begins("a plain pickle", "a plain Python pickle: save the state_dict with torch.save", pickles.GOOD)
begins("a gzip file", f"a gzip file: {UNPACK}", gzip.compress(pickles.GOOD))
begins("a gzip bomb", f"a gzip file: {UNPACK}", gzip.compress(bytes(1 << 24)))
begins("a bzip2 file", f"a bzip2 file: {UNPACK}", bz2.compress(b"x"))
begins("an xz file", f"an xz file: {UNPACK}", lzma.compress(b"x"))
begins("a 7-Zip archive", f"a 7-Zip archive: {UNPACK}", b"7z\xbc\xaf\x27\x1c" + bytes(26))
begins("a zip archive's local header in the middle of a file", UNKNOWN.format("#!/bin/sh\\x0aexit 0"),
       b"#!/bin/sh\nexit 0\nPK\x03\x04")

special("1 TiB of nothing", UNKNOWN.format("\\x00" * 16), sparse(TIB))
special("a FIFO", "not a regular file", os.mkfifo)
special("a folder", "a folder, not a file", os.mkdir)
special("/dev/zero", "not a regular file", lambda path: os.symlink("/dev/zero", path))
special("a terminal's device", "not a regular file", lambda path: os.symlink("/dev/null", path))
special("a link to nowhere", "cannot open: No such file or directory", lambda path: os.symlink("nowhere", path))
special("a link to itself", "cannot open: Too many levels of symbolic links", lambda path: os.symlink(path, path))
special("no file", "cannot open: No such file or directory", lambda path: None)


def unreadable(path):
    with open(path, "wb") as f:
        f.write(b"x")
    os.chmod(path, 0)


if os.geteuid() != 0:
    special("a file that may not be read", "cannot open: Permission denied", unreadable)
