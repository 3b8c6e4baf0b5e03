"""What every reader of zips here asks of the whole file and of each member, in one place.

Python's zipfile leaves some of it open: it believes a directory that lists fewer members than its
end counts, inflates a member to any size before it compares that with the size in the directory,
and, before version 3.11.8, reads members that share their bytes.
"""

import hashlib
import os
import reprlib
import stat
import struct
import zipfile
import zlib
from array import array
from bisect import bisect_right
from weakref import WeakKeyDictionary

from tqdm import tqdm

# A member that claims more than this is not an image of the sizes handled here. It is refused
# before it is decompressed, so that a zip bomb costs nothing.
MAXIMUM_MEMBER_BYTES = 32 * 2**20

_LOCAL_HEADER = struct.Struct("<4s2xH18x2H")  # signature, flags, lengths of name and extra field
_END = struct.Struct("<4s6xH8xH")  # signature, number of members, length of the comment
_END_64, _END_64_BYTES, _LOCATOR_BYTES = struct.Struct("<4s28xQ"), 56, 20
_LONGEST_COMMENT = 0xFFFF
_MANY = 0xFFFF  # members: the number is in the end of zip64

_ENCRYPTED, _PATCH, _STRONGLY_ENCRYPTED, _UTF_8 = 0x1, 0x20, 0x40, 0x800
_UNIX = 3  # the system whose file modes a member has

_LARGEST = 2**63 - 1
_NO_DATE = (1980, 1, 1, 0, 0, 0)

_SHORT = reprlib.Repr()
_SHORT.maxstring = 200  # characters

# Where members begin, rising
_offsets: WeakKeyDictionary[zipfile.ZipFile, array] = WeakKeyDictionary()


def open_zip(path: str | os.PathLike[str]) -> zipfile.ZipFile:
    """Open the zip at `path` and read its directory; the dates of its members are let go.

    Raises OSError when the file cannot be read, BadZipFile for whatever is wrong with it, such as a
    directory that has not as many members as the end of the file says.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, MemoryError, zipfile.BadZipFile):
        raise
    except Exception as error:  # a later version of zip, names in a wrong encoding, ...
        raise zipfile.BadZipFile(words(error)) from error
    try:
        found, said = len(archive.infolist()), _members_by_end(archive)
        # Some programs write the lower 16 bits of a larger number.
        if said not in (found, found & 0xFFFF):
            raise zipfile.BadZipFile(f"its end counts {said} members, its directory has {found}")
    except BaseException:
        archive.close()
        raise
    for info in archive.infolist():
        info.date_time = _NO_DATE  # a tuple each is 100 MB of a million members
    return archive


def _members_by_end(archive: zipfile.ZipFile) -> int:
    """Give the number of members that the record at the end of the file says."""
    file = archive.fp
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END.size - _LONGEST_COMMENT - _END_64_BYTES - _LOCATOR_BYTES))
    tail = file.read()
    place = len(tail) - _END.size  # zipfile too looks there first, for a file without a comment
    if not (tail.startswith(zipfile.stringEndArchive, place) and tail.endswith(b"\0\0")):
        place = tail.rindex(zipfile.stringEndArchive)
    _, count, _ = _END.unpack_from(tail, place)
    place -= _END_64_BYTES + _LOCATOR_BYTES
    if count == _MANY and place >= 0 and tail.startswith(zipfile.stringEndArchive64, place):
        _, count = _END_64.unpack_from(tail, place)
    return count


def is_folder(info: zipfile.ZipInfo) -> bool:
    """Tell whether a member is the entry of a folder and nothing else.

    One with content is a file with a name that cannot be used, to be listed as such.
    """
    empty = info.file_size == 0 and info.compress_size in (0, 2)  # nothing deflated: two bytes
    return info.filename.endswith("/") and empty


def check_size(info: zipfile.ZipInfo) -> None:
    """Raise ValueError, whose text is the reason, for a member over MAXIMUM_MEMBER_BYTES."""
    if info.file_size > MAXIMUM_MEMBER_BYTES:
        raise ValueError(f"claims {info.file_size} bytes, more than any image here can need")


def check_member(info: zipfile.ZipInfo) -> None:
    """Raise ValueError, whose text is the reason, for a member that is not to be read.

    That is: encrypted, no regular file, compressed in another way than by deflating, of sizes that
    contradict each other, or with a name that goes on where zipfile takes it for ended.
    """
    mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
    size, coded = info.file_size, info.compress_size
    if info.flag_bits & (_ENCRYPTED | _STRONGLY_ENCRYPTED):
        raise ValueError("encrypted")
    if stat.S_ISLNK(mode):
        raise ValueError("a link, not a file")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise ValueError("neither a file nor a folder")
    if "\0" in info.orig_filename:
        raise ValueError("called by a name with a NUL character")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # Python's readers of the others have no limit to what a few bytes become.
        raise ValueError(
            f"compressed in a way that is not supported (method {info.compress_type}); only stored "
            "and deflated files are read"
        )
    if info.flag_bits & _PATCH:
        raise ValueError("compressed in a way that is not supported (a patch)")
    most = size if info.compress_type == zipfile.ZIP_STORED else size + size // 1000 + 1024
    if coded > most or (size > coded and info.compress_type == zipfile.ZIP_STORED):
        raise ValueError(f"damaged in the archive (says it has {size} bytes, coded as {coded})")


def read_whole(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Give the bytes of a member, in a third of the time of ZipFile.read.

    Never holds more than its two sizes say, which the caller must have found fit. Raises
    ValueError, whose text is the reason, as check_member does and when it is damaged.
    """
    check_member(info)
    try:
        start = find_content(archive, info)
        archive.fp.seek(start)
        content = archive.fp.read(info.compress_size)
        whole = len(content) == info.compress_size
        if info.compress_type == zipfile.ZIP_DEFLATED:
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            content = inflate.decompress(content, info.file_size + 1)
            whole = inflate.eof
        if not whole or len(content) != info.file_size:
            raise zipfile.BadZipFile(f"does not have the {info.file_size} bytes that it says")
        if zlib.crc32(content) != info.CRC:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {info.filename!r}")
    except MemoryError:
        raise
    except Exception as error:  # zlib, struct and the seek have kinds of their own
        raise ValueError(f"damaged in the archive ({words(error)})") from error
    return content


def content_sha256(archive: zipfile.ZipFile) -> str:
    """Return the sha256 of what the files of a zip are, whatever their order and packing.

    It is that of the lines "<sha256 of the file's bytes>  <name>", in sorted order of the names.
    In place of the hash of a file that cannot be read stands "unreadable".
    """
    return sha256_of_members(member_digests(archive))


def member_digests(archive: zipfile.ZipFile, whole: bool = False) -> list[tuple[str, str]]:
    """Return name and sha256, or "unreadable", of each file of a zip, sorted.

    whole: raises ValueError, whose text is the reason, for a file that cannot be read. Shows a
    progress bar, unless it takes less than a second.
    """
    files = [info for info in archive.infolist() if not is_folder(info)]
    digests = []
    for info in tqdm(files, desc="checking", unit=" files", delay=1, leave=False, disable=None):
        try:
            check_size(info)
            digest = hashlib.sha256(read_whole(archive, info)).hexdigest()
        except ValueError as error:
            if whole:
                raise ValueError(
                    f"its file {quoted(info.filename)} is unusable: {error}"
                ) from error
            digest = "unreadable"
        digests.append((info.filename, digest))
    return sorted(digests)


def sha256_of_members(digests: list[tuple[str, str]]) -> str:
    """Return `content_sha256` from what `member_digests` returns."""
    whole = hashlib.sha256()
    for name, digest in digests:
        # As in sha256sum's lists, a name cannot end its line.
        line = name.replace("\\", "\\\\").replace("\n", "\\n")
        whole.update(f"{digest}  {line}\n".encode())
    return whole.hexdigest()


def find_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Give the offset of a member's coded bytes, which are its own alone.

    Raises BadZipFile when its header is not that of this member, or when its bytes run into the
    next member; struct.error, OSError or OverflowError when it lies outside of the file.
    """
    file = archive.fp
    file.seek(info.header_offset)
    header = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    signature, flags, name_length, extra_length = header
    if signature != zipfile.stringFileHeader:
        raise zipfile.BadZipFile("Bad magic number for file header")
    name = file.read(name_length).decode("utf-8" if flags & _UTF_8 else "cp437")
    if name != info.orig_filename:
        raise zipfile.BadZipFile(f"its name is {name!r} in its header")
    start = info.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    offsets = offsets_of(archive)
    after = bisect_right(offsets, info.header_offset)
    end = offsets[after] if after < len(offsets) else archive.start_dir
    if start + info.compress_size > end:
        raise zipfile.BadZipFile("overlaps what follows it")
    return start


def offsets_of(archive: zipfile.ZipFile) -> array:
    """Give where the members begin, in bytes, rising, each offset once.

    Found at the first call for an archive, which takes half a second for a million members.
    """
    if archive not in _offsets:
        # A damaged directory says anything; a seek to it fails before it is looked up here.
        begins = {min(max(info.header_offset, 0), _LARGEST) for info in archive.infolist()}
        _offsets[archive] = array("q", sorted(begins))
    return _offsets[archive]


def quoted(name: str) -> str:
    """Give a member's name for a sentence: in quotes, on one line, a long one shortened."""
    # A name in a zip has up to 65,535 bytes.
    return _SHORT.repr(name)


def words(error: Exception) -> str:
    """Give what an error says in one printable line that is the same in every run."""
    # Some errors name a buffer's address.
    text = str(error).split("<_io")[0].strip() or type(error).__name__
    line = " ".join(text.split())[:120]
    return "".join(letter if letter.isprintable() else "?" for letter in line)
