/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers that were made to do harm, or that broke on their way, through the
 * store and the real hyb-image. Each ends in the one right tree, read back from
 * the EROFS file, or in an error that names the layer and the place in it; and
 * nothing outside the store has changed. (Documents and archives:
 * test_image_documents.c.)
 */
#include <fcntl.h>
#include <setjmp.h>

#include "tests/unit/image_layout.h"
#include "tests/unit/image_script.h"

#include <cmocka.h>

/* Layers that are compressed say so in their first line. */
struct hostile {
	const char *name;
	const char *layers[5]; /* image_script.h */
	const char *tree;      /* as erofs_list() has it, or NULL: */
	const char *error;     /* what its message holds */
	unsigned int layer;    /* where the error is; 0: the last one */
	bool full;	       /* tree has modes, owners, times, attributes */
};

#define TREE(...) .tree = __VA_ARGS__
#define FULL(...) .tree = __VA_ARGS__, .full = true
#define BAD(...)  .error = __VA_ARGS__

static const struct hostile cases[] = {
	/* -- out of the image by name -- */
	{"up", {"f ../a x"}, BAD("entry '../a': its path has '..' in it")},
	{"up, absolute",
	 {"f /../a x"},
	 BAD("entry '/../a': its path has '..'")},
	{"up and down again",
	 {"f a/../b x"},
	 BAD("entry 'a/../b': its path has '..'")},
	{"only up", {"d .."}, BAD("entry '..': its path has '..'")},
	{"up behind a dot", {"f ./../a x"}, BAD("its path has '..'")},
	{"up many times to the canary",
	 {"f ../../../../../../..\\T/canary evil"},
	 BAD("its path has '..'")},
	{"up by a PAX name",
	 {"x path=../../a\nf b x"},
	 BAD("entry '../../a': its path has '..'")},
	{"up by a GNU name",
	 {"L ../../a\nf b x"},
	 BAD("entry '../../a': its path has '..'")},
	{"up by a prefix",
	 {"@345 ../..\nf etc/x x"},
	 BAD("entry '../../etc/x': its path has '..'")},
	{"up by the name of a sparse file",
	 {"x GNU.sparse.name=../a\nx GNU.sparse.major=1\nf b x"},
	 BAD("entry '../a'")},
	{"up as a folder by a slash", {"f ../a/ x"}, BAD("'..'")},
	{"up by a whiteout", {"f ../.wh.a x"}, BAD("its path has '..'")},
	{"up by an opaque mark",
	 {"f ../.wh..wh..opq x"},
	 BAD("its path has '..'")},
	{"three dots are a name", {"f .../a x"}, TREE("d /...\nf /.../a x\n")},
	{"backslashes are no slashes",
	 {"f ..\\\\..\\\\a x"},
	 TREE("f /..\\\\..\\\\a x\n")},
	{"an absolute name is the image's",
	 {"f \\T/canary evil"},
	 TREE("d /tmp\nd \\T\nf \\T/canary evil\n")},
	{"slashes in a row", {"f ///a//b x"}, TREE("d /a\nf /a/b x\n")},
	{"dots in a row", {"f ././a/./. x"}, TREE("f /a x\n")},
	{"the root by dots", {"d /./. 700"}, TREE("")},

	/* -- out of the image by symbolic links -- */
	{"through a link to the canary's folder",
	 {"l a \\T\nf a/canary evil"},
	 TREE("l /a \\T\nd /tmp\nd \\T\nf \\T/canary evil\n")},
	{"through a link up",
	 {"l a ../../../../../..\\T\nf a/canary evil"},
	 TREE("l /a ../../../../../..\\T\nd /tmp\nd \\T\nf \\T/canary evil\n")},
	{"through a link of a lower layer",
	 {"l a \\T", "f a/canary evil"},
	 TREE("l /a \\T\nd /tmp\nd \\T\nf \\T/canary evil\n")},
	{"through links to links",
	 {"l a b\nl b c\nl c /x\nf a/y z"},
	 TREE("l /a b\nl /b c\nl /c /x\nd /x\nf /x/y z\n")},
	{"over a link, not through it",
	 {"l canary \\T/canary", "f canary evil"},
	 TREE("f /canary evil\n")},
	{"over a link in one layer",
	 {"l canary \\T/canary\nf canary evil"},
	 TREE("f /canary evil\n")},
	{"a folder over a link",
	 {"l a \\T\nd a 755\nf a/canary evil"},
	 TREE("d /a\nf /a/canary evil\n")},
	{"a link over a folder in use",
	 {"d a\nf a/b 1\nl a \\T\nf a/canary evil"},
	 TREE("l /a \\T\nd /tmp\nd \\T\nf \\T/canary evil\n")},
	{"a link to here", {"l a .\nf a/a/a/b x"}, TREE("l /a .\nf /b x\n")},
	{"a link to the parent of the root",
	 {"l a ..\nf a/a/b x"},
	 TREE("l /a ..\nf /b x\n")},
	{"a link through /proc",
	 {"l a /proc/self/root/etc\nf a/passwd evil"},
	 TREE("l /a /proc/self/root/etc\nd /proc\nd /proc/self\n"
	      "d /proc/self/root\nd /proc/self/root/etc\n"
	      "f /proc/self/root/etc/passwd evil\n")},
	{"a whiteout through a link out",
	 {"l a ../..\\T", "f a/.wh.canary x"},
	 TREE("l /a ../..\\T\n")},
	{"an opaque mark through a link out",
	 {"l a \\T", "f a/.wh..wh..opq x"},
	 TREE("l /a \\T\n")},
	{"a loop of two",
	 {"l a b\nl b a\nf a/x 1"},
	 BAD("entry 'a/x': too many")},
	{"a loop of one", {"l a a\nf a/x 1"}, BAD("entry 'a/x': too many")},
	{"a loop that grows",
	 {"l a a/a\nf a/x 1"},
	 BAD("entry 'a/x': too many symbolic links")},
	{"a loop over layers",
	 {"l a b", "l b a", "f b/x 1"},
	 BAD("entry 'b/x': too many symbolic links")},
	{"a link over 4095 bytes",
	 {"K {a*4096}\nl a x"},
	 BAD("entry 'a': what it links to is over 4095 bytes")},
	{"a link of 4095 bytes that nobody follows",
	 {"K {a*4095}\nl a x"},
	 TREE("l /a {a*4095}\n")},
	{"a link with a NUL",
	 {"x linkpath=a\\0b\nl a x"},
	 BAD("a PAX header has a value that is not valid")},
	{"a link to nothing",
	 {"l a"},
	 BAD("entry 'a': a symbolic link to nothing")},
	{"a link as the root", {"l / /etc"}, BAD("it would replace the root")},

	/* -- hard links -- */
	{"a hard link to the canary",
	 {"h a \\T/canary"},
	 BAD("entry 'a': a hard link to '\\T/canary', which does not exist")},
	{"a hard link up",
	 {"h a ../../..\\T/canary"},
	 BAD("its path has '..'")},
	{"a hard link to a link to the canary",
	 {"l a \\T/canary\nh b a"},
	 TREE("l /a \\T/canary x2\nl /b \\T/canary x2\n")},
	{"data through a hard link to a link",
	 {"l a \\T/canary\nh b a\nf b evil"},
	 TREE("l /a \\T/canary\nf /b evil\n")},
	{"a hard link through a link out",
	 {"l a \\T\nh b a/canary"},
	 BAD("entry 'b': a hard link to 'a/canary', which does not exist")},
	{"a hard link through a link inside",
	 {"d d\nf d/x 1\nl a d\nh b a/x"},
	 TREE("l /a d\nf /b 1 x2\nd /d\nf /d/x 1 x2\n")},
	{"a hard link to what comes later",
	 {"h a b\nf b 1"},
	 BAD("which does not exist")},
	{"a hard link to itself, out of nothing",
	 {"h a a"},
	 BAD("which does not exist")},
	{"a hard link to a folder", {"d a\nh b a"}, BAD("which is a folder")},
	{"a hard link to a folder by a link",
	 {"d a\nl c a\nh b c/."},
	 TREE("d /a\nl /b a x2\nl /c a x2\n")},
	{"a hard link to the root", {"h b ."}, BAD("a hard link to the root")},
	{"a hard link to what was hidden",
	 {"f a 1", "f .wh.a\nh b a"},
	 BAD("which does not exist")},
	{"a hard link to a whiteout's name",
	 {"f a 1", "h b .wh.a"},
	 BAD("which does not exist")},
	{"a whiteout that is a hard link",
	 {"f a 1\nf b 2", "h .wh.a b"},
	 TREE("f /b 2\n")},
	{"a hard link with data",
	 {"f a 1\n@157 a\n?1 b data"},
	 BAD("not a tar header")},
	{"a hard link whose size has no data behind it",
	 {"f a 1\n@124 00000000004\nh b a"},
	 TREE("f /a 1 x2\nf /b 1 x2\n")},
	{"a hard link to a device",
	 {"c a 1:3\nh b a"},
	 TREE("c /a x2\nc /b x2\n")},
	{"a hard link by a PAX name up",
	 {"x linkpath=../a\nh b a"},
	 BAD("its path has '..'")},
	{"a hard link over the folder it points into",
	 {"d d\nf d/a 1\nh d d/a"},
	 TREE("f /d 1\n")},
	{"a hard link below a file",
	 {"f a 1\nh b a/c"},
	 BAD("which does not exist")},

	/* -- whiteouts -- */
	{"whiteout of no name",
	 {"f .wh. x"},
	 BAD("entry '.wh.': a whiteout of")},
	{"whiteout of here",
	 {"f .wh.. x"},
	 BAD("entry '.wh..': a whiteout of")},
	{"whiteout of the parent",
	 {"f .wh... x"},
	 BAD("entry '.wh...': a whiteout of no name")},
	{"whiteout of the root by a slash",
	 {"f /.wh./ x"},
	 BAD("a whiteout of no name")},
	{"whiteout as a path to another",
	 {"f a 1", "f .wh.b/.wh.a x"},
	 BAD("a folder is called '.wh.'")},
	{"whiteout with data",
	 {"f a 1", "f .wh.a data\nf b 2"},
	 TREE("f /b 2\n")},
	{"whiteout that is a folder", {"f a 1", "d .wh.a"}, TREE("")},
	{"whiteout that is a link", {"f a 1", "l .wh.a b"}, TREE("")},
	{"whiteout that is a device", {"f a 1", "c .wh.a 0:0"}, TREE("")},
	{"whiteout of a whiteout",
	 {"f a 1", "f .wh..wh.a x"},
	 TREE("f /a 1\n")},
	{"whiteout of odd bytes",
	 {"f \\xff\\n 1\nf b 2", "f .wh.\\xff\\n"},
	 TREE("f /b 2\n")},
	{"whiteout by a PAX name",
	 {"f a 1", "x path=.wh.a\nf zzz x"},
	 TREE("")},
	{"whiteout by a long name",
	 {"L {a*200}\nf a 1", "L .wh.{a*200}\nf a x"},
	 TREE("")},
	{"whiteout of 252 letters",
	 {"f a 1", "L .wh.{a*252}\nf a x"},
	 BAD("a name is over 255 bytes")},
	{"overlayfs's own whiteout is a device",
	 {"f a 1", "c a 0:0"},
	 TREE("c /a\n")},
	{"opaque twice",
	 {"f d/a 1", "f d/.wh..wh..opq\nf d/b 2\nf d/.wh..wh..opq"},
	 TREE("d /d\nf /d/b 2\n")},
	{"opaque keeps what comes before it",
	 {"f d/a 1", "f d/a 2\nf d/.wh..wh..opq"},
	 TREE("d /d\nf /d/a 2\n")},
	{"opaque and whiteout of the same",
	 {"f d/a 1\nf e 1", "f .wh.d\nf d/.wh..wh..opq\nf d/b 2"},
	 TREE("d /d\nf /d/b 2\nf /e 1\n")},
	{"opaque in a file's place",
	 {"f d 1", "f d/.wh..wh..opq"},
	 TREE("f /d 1\n")},
	{"opaque that is a folder",
	 {"f d/a 1", "d d/.wh..wh..opq"},
	 TREE("d /d\n")},
	{"below an opaque mark",
	 {"f a 1", "f .wh..wh..opq/x 1"},
	 TREE("f /a 1\n")},
	{"opaque with more behind",
	 {"f a 1", "f .wh..wh..opqx 1"},
	 TREE("f /a 1\n")},
	{"opaque through a link",
	 {"d d\nf d/a 1\nl l d", "f l/.wh..wh..opq\nf l/b 2"},
	 TREE("d /d\nf /d/b 2\nl /l d\n")},
	{"opaque in all of three layers",
	 {"f a 1\n", "f .wh..wh..opq\nf b 1", "f c 1\nf .wh..wh..opq"},
	 TREE("f /c 1\n")},
	{"opaque attributes are not the image's business",
	 {"f d/a 1", "x SCHILY.xattr.trusted.overlay.opaque=y\nd d\nf d/b 2"},
	 TREE("d /d\nf /d/a 1\nf /d/b 2\n")},
	{"aufs leftovers",
	 {"f .wh..wh.aufs x\nd .wh..wh.orph\nf .wh..wh.plnk/9.9 x\nf a 1"},
	 TREE("f /a 1\n")},

	/* -- kinds, modes, owners -- */
	{"devices", {"c c 1:3\nb b 259:1048575"}, TREE("c /b\nc /c\n")},
	{"a device number too large",
	 {"c c 4096:0"},
	 BAD("entry 'c': its device number is not a valid")},
	{"a minor number too large",
	 {"b b 1:1048576"},
	 BAD("entry 'b': its device number is not a valid")},
	{"a device number that is none",
	 {"@329 zzzzzzz\n?3 c"},
	 BAD("entry 'c': its device number is not a valid")},
	{"a device with data", {"?3 c data\nf a 1"}, BAD("not a tar header")},
	{"setuid, setgid, sticky",
	 {"@100 0004755\nf s 1\n@100 0002755\nf g 1\nd t 1777"},
	 FULL("f /g 1 2755 0:0 1000\nf /s 1 4755 0:0 1000\nd /t 1777 0:0 "
	      "1000\n")},
	{"bits of a mode that are no permissions",
	 {"@100 0104644\nf a 1"},
	 FULL("f /a 1 4644 0:0 1000\n")},
	{"a mode of base 256",
	 {"@100 \\x80\\0\\0\\0\\0\\0\\x01\\xed\nf a 1"},
	 FULL("f /a 1 755 0:0 1000\n")},
	{"a mode that is none",
	 {"@100 rwxr-xr\nf a 1"},
	 BAD("entry 'a': its mode is not a valid number")},
	{"a negative mode",
	 {"@100 \\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\nf a 1"},
	 BAD("entry 'a': its mode is not a valid number")},
	{"owners of base 256",
	 {"@108 \\x80\\0\\0\\0\\x7f\\xff\\xff\\xff\nf a 1"},
	 FULL("f /a 1 644 2147483647:0 1000\n")},
	{"an owner over 2^31",
	 {"@108 \\x80\\0\\0\\0\\x80\\0\\0\\0\nf a 1"},
	 BAD("entry 'a': its uid is not a valid number")},
	{"an owner over 2^31 by PAX",
	 {"x uid=4294967295\nf a 1"},
	 BAD("entry 'a': its uid or gid is over 2^31-1")},
	{"a negative owner by PAX",
	 {"x gid=-1\nf a 1"},
	 BAD("a PAX header has a value that is not valid")},
	{"a negative group",
	 {"@116 \\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\nf a 1"},
	 BAD("entry 'a': its gid is not a valid number")},
	{"an unknown kind",
	 {"?Z a 1"},
	 BAD("entry 'a': it is of a type that is not known")},
	{"a piece of a file on several tapes",
	 {"?M a 1"},
	 BAD("entry 'a': it is of a type that is not known")},
	{"a dump's folder", {"?D a 1"}, BAD("of a type that is not known")},
	{"a contiguous file is a file", {"?7 a 1"}, TREE("f /a 1\n")},
	{"kind NUL is a file", {"@156 \\0\nf a 1"}, TREE("f /a 1\n")},
	{"kind NUL and a slash is a folder",
	 {"@156 \\0\nf a/ 1"},
	 TREE("d /a\n")},
	{"a volume's name is skipped", {"?V vol\nf a 1"}, TREE("f /a 1\n")},

	/* -- numbers -- */
	{"a negative size",
	 {"@124 -0000000001\nf a 1"},
	 BAD("entry 'a': its size is not a valid number")},
	{"a negative size of base 256",
	 {"@124 \\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\n"
	  "f a 1"},
	 BAD("entry 'a': its size is not a valid number")},
	{"a size of 2^94",
	 {"@124 \\x80\\x40\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\nf a 1"},
	 BAD("entry 'a': its size is not a valid number")},
	{"a size of 2^62",
	 {"@124 \\x80\\0\\0\\0\\x40\\0\\0\\0\\0\\0\\0\\0\nf a 1"},
	 BAD("entry 'a': its size")},
	{"a size of base 256",
	 {"@124 \\x80\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\x01\nf a 1"},
	 TREE("f /a 1\n")},
	{"the largest octal size",
	 {"@124 777777777777\nf a 1"},
	 BAD("entry 'a': ")},
	{"a size over the end",
	 {"@124 00000010000\nf a 1"},
	 BAD("entry 'a': the tar stream is cut")},
	{"a size of 64 GiB and more",
	 {"x size=68719476737\nf a 1"},
	 BAD("entry 'a': it is larger than 64 GiB")},
	{"a PAX size of 2^63",
	 {"x size=9223372036854775808\nf a 1"},
	 BAD("a PAX header has a value that is not valid")},
	{"a PAX size that wraps",
	 {"x size=18446744073709551617\nf a 1"},
	 BAD("a PAX header has a value that is not valid")},
	{"a negative PAX size",
	 {"x size=-1\nf a 1"},
	 BAD("a PAX header has a value that is not valid")},
	{"a PAX size that hides data",
	 {"x size=0\nf a data"},
	 BAD("not a tar header")},
	{"a size with letters behind",
	 {"@124 0000000001x\nf a 1"},
	 BAD("entry 'a': its size is not a valid number")},
	{"a size of digits 8 and 9",
	 {"@124 00000000019\nf a 1"},
	 BAD("entry 'a': its size is not a valid number")},
	{"a size of blanks",
	 {"@124 \\s\\s\\s\\s\\s\\s\\s\\s\\s\\s\\s\\s\nf a"},
	 TREE("f /a\n")},
	{"blanks in front of a size",
	 {"@124 \\s\\s\\s\\s\\s\\s\\s\\s\\s\\s1\nf a 1"},
	 TREE("f /a 1\n")},
	{"a folder with a size",
	 {"@124 00000001000\nd a\nf b 1"},
	 TREE("d /a\nf /b 1\n")},
	{"a time before 1970",
	 {"@136 \\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\n"
	  "f a 1"},
	 FULL("f /a 1 644 0:0 -2\n")},
	{"a time of base 256 too large",
	 {"@136 \\x80\\x7f\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\nf a 1"},
	 BAD("entry 'a': its time is not a valid number")},
	{"a time that is none",
	 {"@136 yesterday\\0\\0\nf a 1"},
	 BAD("entry 'a': its time is not a valid number")},
	{"a PAX time with many digits",
	 {"x mtime=1.99999999999999999999\nf a 1"},
	 FULL("f /a 1 644 0:0 1\n")},
	{"a PAX time that is none",
	 {"x mtime=1e9\nf a 1"},
	 BAD("a PAX header has a value that is not valid")},
	{"a wrong sum", {"f a 1\n#\nf b 1"}, BAD("checksum is wrong")},
	{"a sum of nothing",
	 {"f a 1\n0 10\n. x\n0 501\n!"},
	 BAD("checksum is wrong")},

	/* -- names -- */
	{"no name", {"@0 \\0\nf a 1"}, BAD("an entry has no name")},
	{"a GNU name of nothing", {"L \nf a 1"}, BAD("an entry has no name")},
	{"a PAX name of nothing means the header's",
	 {"x path=\nf a 1"},
	 TREE("f /a 1\n")},
	{"a PAX name with a NUL",
	 {"x path=a\\0b\nf a 1"},
	 BAD("a PAX header has a value that is not valid")},
	{"names of any bytes",
	 {"f \\x01\\x7f\\x80\\xff 1\nf a\\nb 2\nf \"'$`*?\\\\ 3\nf -rf 4\n"
	  "f \\xc0\\xaf 5"},
	 TREE("f /\x01\x7f\\x80\\xff 1\nf /\"'$`*?\\\\ 3\nf /-rf 4\n"
	      "f /a\nb 2\nf /\\xc0\\xaf 5\n")},
	{"a name of 255 bytes", {"L {n*255}\nf a 1"}, TREE("f /{n*255} 1\n")},
	{"a name of 256 bytes",
	 {"L {n*256}\nf a 1"},
	 BAD("a name is over 255 bytes")},
	{"a path of 4096 bytes",
	 {"L {/*4095}a\nf a 1"},
	 BAD("its name is over 4095 bytes")},
	{"a path of slashes", {"L {/*4000}a\nf a 1"}, TREE("f /a 1\n")},
	{"below a file", {"f a 1\nf a/b 2"}, BAD("entry 'a/b': a part of its")},
	{"below a file of a lower layer",
	 {"f a 1", "f a/b 2"},
	 BAD("entry 'a/b': a part of its path is a file")},
	{"below a device", {"c a 1:3\nf a/b 1"}, BAD("entry 'a/b': a part of")},
	{"the root as a file", {"f / 1"}, TREE("")},
	{"the root as a fifo", {"p ."}, BAD("it would replace the root")},
	{"a file in the place of a tree",
	 {"f a/b/c/d 1\nf e 1", "f a 2"},
	 TREE("f /a 2\nf /e 1\n")},
	{"one name many times",
	 {"f a 1\nd a\nl a x\nc a 1:1\np a\nf a 2"},
	 TREE("f /a 2\n")},

	/* -- PAX and GNU headers -- */
	{"a global header's name is not taken",
	 {"g path=evil\nf a 1"},
	 TREE("f /a 1\n")},
	{"a global header's owner is not taken",
	 {"g uid=12\nf a 1"},
	 FULL("f /a 1 644 0:0 1000\n")},
	{"two PAX headers: the second counts",
	 {"x path=b\ng comment=x\nx uid=5\nf a 1"},
	 FULL("f /a 1 644 5:0 1000\n")},
	{"a record twice: the second counts",
	 {"x path=b\nx path=c\nf a 1"},
	 TREE("f /c 1\n")},
	{"PAX over GNU", {"L gnu\nx path=pax\nf a 1"}, TREE("f /pax 1\n")},
	{"two GNU names: the second counts",
	 {"L one\nL two\nf a 1"},
	 TREE("f /two 1\n")},
	{"a record that is longer than its header",
	 {"?x x 99\\spath=b\\n\nf a 1"},
	 BAD("a PAX header is broken")},
	{"a record of length 0",
	 {"?x x 0\\spath=b\\n\nf a 1"},
	 BAD("a PAX header is broken")},
	{"a record of a length that wraps",
	 {"?x x 18446744073709551625\\spath=b\\n\nf a 1"},
	 BAD("a PAX header is broken")},
	{"a record without an end",
	 {"?x x 9\\spath=bb\nf a 1"},
	 BAD("a PAX header is broken")},
	{"a record without '='",
	 {"?x x 7\\spath\\n\nf a 1"},
	 BAD("a PAX header is broken")},
	{"a PAX header of nothing", {"?x x\nf a 1"}, TREE("f /a 1\n")},
	{"a PAX header for nobody", {"f a 1\nx path=b"}, BAD("cut")},
	{"a GNU name for nobody", {"f a 1\nL b"}, BAD("cut")},
	{"a PAX header over 1 MiB",
	 {"@124 00004000001\n?x x 1\nf a 1"},
	 BAD("an extended header is over 1 MiB")},
	{"a GNU name over 1 MiB",
	 {"@124 00004000001\n?L x 1\nf a 1"},
	 BAD("an extended header is over 1 MiB")},
	{"a PAX header of a negative size",
	 {"@124 -0000000001\n?x x 1\nf a 1"},
	 BAD("a size is not a number")},
	{"a global header over 1 MiB",
	 {"@124 00004000001\n?g x 1\nf a 1"},
	 BAD("a size is not valid")},
	{"star's prefix ends at 131 bytes",
	 {"@345 pre\n@476 123456789\n@508 tar\\0\nf a 1"},
	 TREE("d /pre\nf /pre/a 1\n")},
	{"the oldest tar has no magic",
	 {"@257 \\0\\0\\0\\0\\0\\0\\0\\0\nf a 1"},
	 TREE("f /a 1\n")},
	{"GNU's magic: no prefix",
	 {"@257 ustar\\s\\s\\0\n@345 evil\nf a 1"},
	 TREE("f /a 1\n")},

	/* -- attributes -- */
	{"attributes that stay",
	 {"x SCHILY.xattr.user.a=1\nx SCHILY.xattr.security.capability="
	  "\\x01\\0\\0\\x02\nf a 1"},
	 FULL("f /a 1 644 0:0 1000 user.a=1 security.capability=4\n")},
	{"attributes that would steer overlayfs",
	 {"x SCHILY.xattr.trusted.overlay.redirect=/etc\n"
	  "x SCHILY.xattr.user.overlay.whiteout=y\n"
	  "x SCHILY.xattr.trusted.overlay.metacopy=\nf a 1"},
	 FULL("f /a 1 644 0:0 1000\n")},
	{"labels of security modules",
	 {"x SCHILY.xattr.security.selinux=system_u\n"
	  "x SCHILY.xattr.security.apparmor=x\nf a 1"},
	 FULL("f /a 1 644 0:0 1000\n")},
	{"an attribute of no name",
	 {"x SCHILY.xattr.=1\nf a 1"},
	 BAD("a PAX header has a value that is not valid")},
	{"an attribute twice: the second counts",
	 {"x SCHILY.xattr.user.a=1\nx SCHILY.xattr.user.a=22\nf a 1"},
	 FULL("f /a 1 644 0:0 1000 user.a=2\n")},
	{"an attribute of no value",
	 {"x SCHILY.xattr.user.a=\nf a 1"},
	 FULL("f /a 1 644 0:0 1000 user.a=0\n")},
	{"an attribute's name over 255 bytes",
	 {"x SCHILY.xattr.user.{a*256}=1\nf a 1"},
	 BAD("entry 'a': ")},
	{"attributes over 64 KiB",
	 {"x SCHILY.xattr.user.a={v*40000}\nx SCHILY.xattr.user.b={v*40000}\n"
	  "f a 1"},
	 BAD("entry 'a': its attributes take more than 64 KiB")},
	{"attributes of a hard link are the file's own",
	 {"f a 1\nx SCHILY.xattr.user.evil=1\nh b a"},
	 FULL("f /a 1 x2 644 0:0 1000\nf /b 1 x2 644 0:0 1000\n")},

	/* -- sparse files -- */
	{"a sparse file's map over its size",
	 {"x GNU.sparse.realsize=2\nx GNU.sparse.map=0,4\nf a 1234"},
	 BAD("entry 'a': its map of holes is broken")},
	{"a sparse file's pieces over one another",
	 {"x GNU.sparse.realsize=9\nx GNU.sparse.map=0,2,1,2\nf a 1234"},
	 BAD("entry 'a': its map of holes is broken")},
	{"a sparse file's pieces backwards",
	 {"x GNU.sparse.realsize=9\nx GNU.sparse.map=4,2,0,2\nf a 1234"},
	 BAD("entry 'a': its map of holes is broken")},
	{"a sparse file's map says more than there is",
	 {"x GNU.sparse.realsize=9\nx GNU.sparse.map=0,6\nf a 1234"},
	 BAD("entry 'a': its map of holes is not of its size")},
	{"a sparse file's map says less than there is",
	 {"x GNU.sparse.realsize=9\nx GNU.sparse.map=0,2\nf a 1234"},
	 BAD("entry 'a': its map of holes is not of its size")},
	{"a sparse file's map that wraps",
	 {"x GNU.sparse.realsize=9\n"
	  "x GNU.sparse.map=9223372036854775807,9223372036854775807\nf a 1"},
	 BAD("entry 'a': its map of holes is broken")},
	{"a sparse file of an exabyte of holes",
	 {"x GNU.sparse.realsize=1152921504606846976\nx GNU.sparse.map=0,1\n"
	  "f a 1"},
	 BAD("entry 'a': it is larger than 64 GiB")},
	{"a sparse file over the image's limit",
	 {"x GNU.sparse.realsize=1073741824\nx GNU.sparse.map=0,1\nf a 1"},
	 BAD("entry 'a': ")},
	{"a sparse file of holes only",
	 {"x GNU.sparse.realsize=10\nx GNU.sparse.map=10,0\nf a"},
	 TREE("f /a \\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\n")},
	{"a sparse file without a map",
	 {"x GNU.sparse.realsize=4\nf a"},
	 TREE("f /a \\0\\0\\0\\0\n")},
	{"a sparse file without a size",
	 {"x GNU.sparse.map=0,1\nf a 1"},
	 BAD("entry 'a': a sparse file has no size")},
	{"an old sparse map: two offsets",
	 {"x GNU.sparse.size=4\nx GNU.sparse.offset=0\nx "
	  "GNU.sparse.offset=1\nf a 1"},
	 BAD("a PAX header has a value that is not valid")},
	{"a sparse format of the future",
	 {"x GNU.sparse.major=7\nf a 1"},
	 BAD("a PAX header has a value that is not valid")},
	{"a sparse map in the data that has no end",
	 {"x GNU.sparse.major=1\nx GNU.sparse.minor=0\n"
	  "x GNU.sparse.realsize=9\nF a 512"},
	 BAD("entry 'a': its map of holes is broken")},
	{"a sparse map in the data with a huge count",
	 {"x GNU.sparse.major=1\nx GNU.sparse.minor=0\n"
	  "x GNU.sparse.realsize=9\nf a 4294967297\\n0\\n"},
	 BAD("entry 'a': ")},
	{"GNU's sparse file of a negative size",
	 {"@483 -0000000001\n?S a 1"},
	 BAD("entry 'a': its size is not valid")},
	{"a folder that says it is sparse",
	 {"x GNU.sparse.realsize=9\nx GNU.sparse.map=0,4\nd a"},
	 TREE("d /a\n")},

	/* -- cut, and what stands behind -- */
	{"no end mark", {"f a 1\n!"}, TREE("f /a 1\n")},
	{"half an end mark", {"f a 1\n0 512\n!"}, TREE("f /a 1\n")},
	{"a part of an end mark",
	 {"f a 1\n0 100\n!"},
	 BAD("the tar stream is cut")},
	{"cut in a header", {"f a 1\nf b 1\n- 700\n!"}, BAD("stream is cut")},
	{"cut in the data", {"F a 3000\n- 1000\n!"}, BAD("entry 'a': the tar")},
	{"cut in the padding", {"f a 1\n- 10\n!"}, BAD("entry 'a': the tar")},
	{"cut behind a header", {"f a 1\n- 512\n!"}, BAD("entry 'a': the tar")},
	{"cut in a PAX header",
	 {"x path={a*2000}\n?0 a\n- 1500\n!"},
	 BAD("the tar stream is cut")},
	{"cut behind a PAX header",
	 {"?0 a\nx path=b\nf c\n- 512\n!"},
	 BAD("cut")},
	{"cut in a GNU name",
	 {"L {a*2000}\n?0 a\n- 1500\n!"},
	 BAD("the tar stream is cut")},
	{"one zero block, then more",
	 {"f a 1\n0 512\nf b 1"},
	 BAD("data behind an end mark")},
	{"more behind the end is not read",
	 {"f a 1\n0 1024\nf ../evil 1"},
	 TREE("f /a 1\n")},
	{"text behind the end", {"f a 1\n0 1024\n. text\n!"}, TREE("f /a 1\n")},
	{"only zeros", {"0 10240\n!"}, TREE("")},
	{"no byte at all", {"!"}, TREE("")},
	{"a text", {". hello\n!"}, BAD("at byte 5: the tar stream is cut")},
	{"a long text", {". {h*600}\n!"}, BAD("not a tar header")},
	{"the second of three layers is broken",
	 {"f a 1", "f ../b 1", "f c 1"},
	 BAD("entry '../b'"),
	 .layer = 2},

	/* -- compressed -- */
	{"gzip", {"|gzip -9\nf a 1"}, TREE("f /a 1\n")},
	{"gzip, cut",
	 {"|gzip | head -c -9\nF a 3000"},
	 BAD("gzip: the data are cut")},
	{"gzip, its header only",
	 {"|gzip | head -c 10\nf a 1"},
	 BAD("gzip: the data are cut")},
	{"gzip, half a header",
	 {"|gzip | head -c 5\nf a 1"},
	 BAD("gzip: the data are cut")},
	{"gzip, a wrong sum",
	 {"|gzip | head -c -8; printf 12345678\nf a 1"},
	 BAD("gzip: the checksum is wrong")},
	{"gzip, text behind",
	 {"|gzip; echo text\nf a 1"},
	 BAD("gzip: the data are cut")},
	{"gzip, two members",
	 {"|head -c 700 >x; gzip <x; tail -c +1 | "
	  "gzip\nf a 1"},
	 TREE("f /a 1\n")},
	{"gzip in gzip", {"|gzip | gzip\nf a 1"}, BAD("the tar stream is cut")},
	{"gzip, a method that is none",
	 {"|cat >/dev/null; printf '\\\\037\\\\213\\\\010\\\\377xxxxxxxxxxxx'\n"
	  "f a 1"},
	 BAD("gzip: ")},
	{"gzip, a bomb",
	 {"|cat >/dev/null; head -c 400M /dev/zero | gzip -1\nf a 1"},
	 BAD("the layers hold more than the limit of 256 MiB")},
	{"zstd", {"|zstd -q\nf a 1"}, TREE("f /a 1\n")},
	{"zstd, cut",
	 {"|zstd -q | head -c -3\nF a 3000"},
	 BAD("zstd: the data")},
	{"zstd, changed",
	 {"|zstd -q --check | head -c -4; printf 1234\nf a 1"},
	 BAD("zstd: ")},
	{"zstd, a window of 2 GiB",
	 {"|cat >/dev/null; head -c 1M /dev/zero | zstd -q --ultra -22 "
	  "--long=31\nf a 1"},
	 BAD("zstd: ")},
	{"zstd, a frame that is skipped first",
	 {"|printf '\\\\120\\\\052\\\\115\\\\030\\\\003\\\\000\\\\000\\\\000abc'; "
	  "zstd -q\nf a 1"},
	 TREE("f /a 1\n")},
	{"zstd, a bomb",
	 {"|cat >/dev/null; head -c 400M /dev/zero | zstd -q\nf a 1"},
	 BAD("the layers hold more than the limit of 256 MiB")},
	{"xz is no layer", {"|xz\nf a 1"}, BAD("layer 1")},
	{"bzip2 is no layer", {"|bzip2\nf a 1"}, BAD("layer 1")},
};

#define N_CASES (sizeof(cases) / sizeof(cases[0]))

/* ----------------------------------------------------------------- running */

static struct stat canary;

static int setup_hostile(void **state)
{
	int r;

	max_bytes = 256ull << 20;
	r = setup(state);
	if (r < 0)
		return r;
	write_file(at("canary"), "alive", 5);
	assert_int_equal(stat(at("canary"), &canary), 0);
	return 0;
}

/* Nothing but the store and the layout is there; the canary lives. */
static void check_host(void)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t len;

	assert_int_equal(lstat(at("canary"), &st), 0);
	assert_true(st.st_ino == canary.st_ino &&
		    st.st_mode == canary.st_mode &&
		    st.st_mtim.tv_nsec == canary.st_mtim.tv_nsec &&
		    st.st_uid == canary.st_uid);
	assert_int_equal(
		file_read(AT_FDCWD, at("canary"), 100, &text, &len, &e), 0);
	assert_string_equal(text, "alive");
	assert_true(count_files("") == 3);
}

/* The bytes of one layer become a blob; a first line "|COMMAND" is a filter
 * between the tar and the blob. */
static void add_layer(struct layout *l, const char *text, struct buf *diff_ids)
{
	_cleanup_buf_ struct buf tar = BUF_INIT, word = BUF_INIT;
	_cleanup_free_ char *out = NULL;
	const struct script s = {.top = top};
	const char *filter = NULL;
	char digest[72], file[200];
	size_t len;

	if (text[0] == '|') {
		script_word(&s, text + 1, strcspn(text, "\n") - 1, &word);
		filter = buf_str(&word);
		text += strcspn(text, "\n") + 1;
	}
	script_run(text, top, &tar);
	image_digest(buf_str(&tar), tar.len, digest);
	buf_printf(diff_ids, "%s\"%s\"", l->n ? "," : "", digest);
	snprintf(file, sizeof(file), "%s/tar", l->dir);
	if (filter) {
		write_file(file, tar.data, tar.len);
		assert_int_equal(sh("cd %s && (%s) <tar >out", l->dir, filter),
				 0);
		snprintf(file, sizeof(file), "%s/out", l->dir);
		assert_int_equal(
			file_read(AT_FDCWD, file, 4 << 20, &out, &len, &e), 0);
		blob(l->dir, out, len, l->layer[l->n]);
	} else {
		len = tar.len;
		blob(l->dir, buf_str(&tar), len, l->layer[l->n]);
	}
	l->layer_len[l->n++] = len;
}

static void make_image(const struct hostile *c, struct layout *l)
{
	_cleanup_buf_ struct buf diff_ids = BUF_INIT;
	size_t i;

	layout_init(l, "image");
	for (i = 0; c->layers[i]; i++)
		add_layer(l, c->layers[i], &diff_ids);
	buf_printf(&l->config,
		   "{\"architecture\":\"%s\",\"os\":\"linux\",\"rootfs\":{"
		   "\"type\":\"layers\",\"diff_ids\":[%s]}}",
		   "amd64", buf_str(&diff_ids));
	layout_manifest(l);
	layout_index(l, "hostile:1");
}

static void expect_tree(const struct hostile *c, struct image_info **list)
{
	_cleanup_buf_ struct buf got = BUF_INIT, want = BUF_INIT;
	_cleanup_close_ int fd = -1;
	const struct script s = {.top = top};

	fd = open(list[0]->path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	erofs_list(fd, &got, c->full);
	script_word(&s, c->tree, strlen(c->tree), &want);
	if (got.len != want.len ||
	    (got.len && memcmp(got.data, want.data, got.len) != 0))
		fail_msg("%s: got\n%s", c->name, buf_str(&got));
	assert_int_equal(sh("fsck.erofs %s >/dev/null 2>&1", list[0]->path), 0);
	check_clean(1);
}

static void expect_error(const struct hostile *c, unsigned int layers)
{
	_cleanup_buf_ struct buf want = BUF_INIT;
	const struct script s = {.top = top};
	char layer[40];

	script_word(&s, c->error, strlen(c->error), &want);
	snprintf(layer, sizeof(layer),
		 "': layer %u (sha256:", c->layer ? c->layer : layers);
	if (!strstr(e.msg, buf_str(&want)) || !strstr(e.msg, layer) ||
	    strchr(e.msg, '\n'))
		fail_msg("%s: wanted '%s' in %s..., got '%s'", c->name,
			 want.data, layer, e.msg);
	check_clean(0);
}

static void test_one(void **state)
{
	_cleanup_image_info_list_ struct image_info **list = NULL;
	const struct hostile *c = *state;
	struct layout l;
	int r;

	make_image(c, &l);
	r = load(l.dir, NULL, &list);
	if (c->tree && r < 0)
		fail_msg("%s: %s", c->name, e.msg);
	if (!c->tree && r == 0)
		fail_msg("%s: was taken", c->name);
	if (r < 0)
		expect_error(c, (unsigned int)l.n);
	else
		expect_tree(c, list);
	check_host();
	layout_done(&l);
}

static int setup_case(void **state)
{
	void *c = *state;
	int r = setup_hostile(&(void *){NULL});

	*state = c;
	return r;
}

static int teardown_case(void **state)
{
	return teardown(&(void *){*state});
}

int main(void)
{
	static struct CMUnitTest tests[N_CASES];
	size_t i;

	for (i = 0; i < N_CASES; i++)
		tests[i] = (struct CMUnitTest){
			.name = cases[i].name,
			.test_func = test_one,
			.setup_func = setup_case,
			.teardown_func = teardown_case,
			.initial_state = (void *)(uintptr_t)&cases[i],
		};
	return cmocka_run_group_tests_name("hostile layers", tests, NULL, NULL);
}
