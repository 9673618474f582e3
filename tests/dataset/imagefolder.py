"""torchvision's ImageFolder as the judge: the same files with the same labels in the same order, on odd trees."""
import os
import random
import subprocess
import sys
import tarfile
import tempfile

sys.path.insert(0, os.path.join(os.environ["ANX_SOURCE_DIR"], "tests", "checkpoint"))
from judge import Judge, skip  # noqa: E402

try:
    from torchvision.datasets import ImageFolder
    from torchvision.datasets.folder import IMG_EXTENSIONS
except ImportError as e:
    skip(str(e))

TOOL = os.path.join(os.environ["ANX_BUILD_DIR"], "tests", "dataset_tool")
judge = Judge()


def ours(path, n_classes):
    """The samples as (label, name), or what was said instead of them."""
    p = subprocess.run([TOOL, path, str(n_classes)], capture_output=True, check=False)
    if p.returncode != 0:
        return os.fsdecode(p.stderr)
    records = [os.fsdecode(r) for r in p.stdout.split(b"\0")[1:-1]]
    return [(int(label), name) for label, _, name in (r.split(" ", 2) for r in records)]


def theirs(path):
    """The same of ImageFolder, and its number of classes."""
    classes = sorted(e.name for e in os.scandir(path) if e.is_dir())
    try:
        samples = ImageFolder(path).samples
    except FileNotFoundError as e:
        return str(e), len(classes)
    return [(label, os.path.relpath(name, path)) for name, label in samples], len(classes)


def compare(path, what):
    expected, n_classes = theirs(path)
    got = ours(path, max(n_classes, 1))
    if isinstance(expected, str):
        judge.check(isinstance(got, str), f"{what}: torchvision says {expected!r}, we open it")
        for name in expected.split("classes ")[1].split(". ")[0].split(", ") if "classes " in expected else []:
            judge.check(isinstance(got, str) and "no image in it" in got, f"{what}: {name} is empty: {got}")
    else:
        judge.equal(got, expected, what)
    return expected


def put(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(b"x")


# Each kind of oddity by itself.
TREES = {
    "plain": ["b/2.jpg", "b/1.jpg", "a/1.png"],
    "extensions": [f"c/{i}{e}" for i, e in enumerate((
        *IMG_EXTENSIONS, *(e.upper() for e in IMG_EXTENSIONS), ".JpEg", ".gif", ".jpg.gz", ".jpgx", "jpg", ".", "",
        ".jp\u0131g", ".T\u0130F", ".jp\u212a", ".jpg~"))],
    "hidden": ["a/.h.jpg", "a/._x.JPEG", "a/.jpg", ".b/1.jpg", "..c/1.jpg", "a/.d/1.jpg"],
    "case": ["B/1.jpg", "a/1.jpg", "A/1.jpg", "b/X.jpg", "b/x.jpg", "b/Y.JPG"],
    "order of folders": ["a/x.jpg", "a/b/1.jpg", "a/b-c/1.jpg", "a/b.c/1.jpg", "a/b/c/1.jpg", "a-b/1.jpg",
                         "a/b 1/1.jpg", "a b/1.jpg", "a/z/a.jpg", "a/zz.jpg", "a!/1.jpg"],
    "code points": ["a/\uff41.jpg", "a/\U0001f600.jpg", "a/\udcff.jpg", "a/\udc80.jpg", "a/\ue000.jpg", "a/\ud7ff.jpg",
                    "a/e\u0301.jpg", "a/\u00e9.jpg", "\udcff/1.jpg", "\U0001f600/1.jpg", "\uffee/1.jpg", "z/1.jpg",
                    "a/\udced\udca0\udc80.jpg", "a/\udcf0\udc9f\udc98.jpg", "a/\udcc3x.jpg"],
    "control characters": ["a/\n.jpg", "a/\x01.jpg", "a/\x7f/1.jpg", "a\x01/1.jpg", "a\t/1.jpg", "a /1.jpg", "a/ .jpg"],
    "beside": ["x.jpg", "readme.txt", "a/1.jpg"],
    "empty": ["a/1.jpg", "b/1.txt", "c/", "d/e/f/", "\u00fc/"],
    "no folders": ["x.jpg"],
    "nothing": [],
    "deep": ["a/" + "d/" * 60 + "1.jpg", "a/" + "d/" * 59 + "2.jpg"],
    "numbers": [f"{i}/1.jpg" for i in range(12)],
}


def make(root, names):
    os.makedirs(root)
    for name in names:
        if name.endswith("/"):
            os.makedirs(os.path.join(root, name))
        else:
            put(os.path.join(root, name))


def random_tree(rng, root):
    """Folders, files and links with names made of what sorts and ends oddly; links never lead to a folder above."""
    pieces = ["a", "b", "B", ".", "-", "!", " ", "/", "\u00e9", "\udcff", "\uffee", "\U0001f600", "0", "~"]
    folders = [f"class{i}{rng.choice(pieces).replace('/', '')}" for i in range(rng.randrange(1, 6))]
    for folder in folders:
        for i in range(rng.randrange(1 if rng.random() < 0.9 else 0, 12)):
            name = "".join(rng.choice(pieces) for _ in range(rng.randrange(0, 9))).strip("/")
            parts = [p + "_" if p in (".", "..", "") else p for p in name.split("/")]
            end = rng.choice([*IMG_EXTENSIONS, ".JPEG", ".txt", ""])
            try:
                put(os.path.join(root, folder, *parts[:-1], parts[-1] + end))
            except (FileExistsError, IsADirectoryError, NotADirectoryError):
                pass
        os.makedirs(os.path.join(root, folder), exist_ok=True)
        if rng.random() < 0.4:
            os.symlink(rng.choice(["nowhere", "/etc/hostname", "../outside"]),
                       os.path.join(root, folder, f"link{rng.randrange(9)}{rng.choice(['', '.jpg', '.TIFF'])}"))
    if rng.random() < 0.4:
        os.symlink(folders[0], os.path.join(root, "linked"))


with tempfile.TemporaryDirectory() as top:
    for name, tree in TREES.items():
        root = os.path.join(top, name)
        make(root, tree)
        expected = compare(root, name)
        # The same in a tar, where names are all that is needed; a folder around it changes nothing.
        if not isinstance(expected, str) and name != "deep":
            for outer, how in (("", tarfile.GNU_FORMAT), ("val/", tarfile.GNU_FORMAT), ("./", tarfile.PAX_FORMAT)):
                tar = os.path.join(top, "x.tar")
                with tarfile.open(tar, "w", format=how) as t:
                    t.add(root, outer or ".")
                got = ours(tar, len({label for label, _ in expected}))
                if len(os.listdir(root)) == 1 and os.path.isdir(os.path.join(root, os.listdir(root)[0])):
                    continue  # the only class looks like a folder around the images
                judge.equal(got, [(label, (outer if outer != "./" else "") + n) for label, n in expected],
                            f"{name} in a tar ({outer!r}, {how})")

    # Links.
    root = os.path.join(top, "links")
    make(root, ["a/1.jpg", "a/sub/2.jpg"])
    make(os.path.join(top, "elsewhere"), ["3.jpg", "deep/4.jpg"])
    os.symlink("1.jpg", os.path.join(root, "a", "0.jpg"))
    os.symlink("1.jpg", os.path.join(root, "a", "link.txt"))
    os.symlink("nowhere", os.path.join(root, "a", "dangling.jpg"))
    os.symlink("self.jpg", os.path.join(root, "a", "self.jpg"))
    os.symlink("../../elsewhere", os.path.join(root, "a", "there"))
    os.symlink("../../elsewhere", os.path.join(root, "a", "there.jpg"))
    os.symlink("../elsewhere", os.path.join(root, "b"))
    os.symlink("nowhere", os.path.join(root, "c"))
    os.symlink("a/1.jpg", os.path.join(root, "d"))
    os.mkfifo(os.path.join(root, "a", "pipe.jpg"))
    compare(root, "links")

    # A link that leads back: torchvision counts the file 41 times, we refuse.
    os.symlink(".", os.path.join(root, "a", "loop"))
    expected = theirs(root)[0]
    judge.check(sum(n.endswith("/1.jpg") for _, n in expected) > 30, "torchvision follows a link that leads back")
    judge.check("'a/loop': a symbolic link back to 'a', which holds it" in ours(root, 2), "a link that leads back")

    rng = random.Random(20120930)
    for i in range(150):
        root = os.path.join(top, f"random{i}")
        os.makedirs(root)
        random_tree(rng, root)
        compare(root, f"random tree {i}: {sorted(os.listdir(root))!r}")

judge.exit()
