"""
A writer of PyTorch's legacy streams, for tests: as torch/serialization.py of PyTorch 0.2 to 1.5 wrote them, with the
parts that today's torch.save no longer writes (views of storages, Python 2, big-endian machines), and any part wrong.
Plain Python: tensors are (dtype name, shape, stride, offset, key of their storage), storages are (dtype name, bytes).
"""
import struct

from write_torch_tar import CLASSES, Pickle

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def sys_info(version=1001, little=True, python2=False):
    p = Pickle(python2).raw(b"}").put().raw(b"(").text("protocol_version").number(version)
    p.text("little_endian").raw(b"\x88" if little else b"\x89").text("type_sizes").raw(b"}").put().raw(b"(")
    for key, size in (("short", 2), ("int", 4), ("long", 4)):
        p.text(key).number(size)
    return p.raw(b"uu").done()


def add_storage(p, dtype, key, n, view=None):
    """view: (key, offset, elements) of a part."""
    p.raw(b"(").text("storage").name("torch", CLASSES[dtype][0] + "Storage").text(key).text("cpu").number(n)
    if view is None:
        p.raw(b"N")
    else:
        p.text(view[0]).number(view[1]).number(view[2]).raw(b"\x87").put()
    return p.raw(b"t").put().raw(b"Q")


def add_numbers(p, numbers):
    p.raw(b"(")
    for n in numbers:
        p.number(n)
    return p.raw(b"t").put()


def object_pickle(tensors, storages, views, python2=False):
    """views: {key: (key of the whole, offset, elements)}; a tensor's key may be one of them."""
    p = Pickle(python2).name("collections", "OrderedDict").raw(b")R").put().raw(b"(")
    for name, (dtype, shape, stride, offset, key) in tensors.items():
        root, *part = views.get(key, (key,))
        p.text(name).name("torch._utils", "_rebuild_tensor").raw(b"(")
        n = len(storages[root][1]) // CLASSES[dtype][1]
        add_storage(p, dtype, root, n, (key, *part) if part else None)
        add_numbers(add_numbers(p.number(offset), shape), stride).raw(b"t").put().raw(b"R").put()
    return p.raw(b"u").done()


def key_list(keys, python2=False):
    p = Pickle(python2).raw(b"]").put().raw(b"(")
    for key in keys:
        p.text(key)
    return p.raw(b"e").done()


def elements(storages, count="<q"):
    return b"".join(struct.pack(count, len(data) // CLASSES[dtype][1]) + data
                    for _, (dtype, data) in sorted(storages.items()))


def parts(tensors, storages, views=None, little=True, count="<q", python2=False):
    """The stream in pieces, by name and in order."""
    return {"magic": MAGIC, "version": Pickle().number(1001).done(), "sys_info": sys_info(1001, little, python2),
            "object": object_pickle(tensors, storages, views or {}, python2),
            "keys": key_list(sorted(storages), python2), "elements": elements(storages, count)}


def stream(*arguments, **options):
    return b"".join(parts(*arguments, **options).values())
