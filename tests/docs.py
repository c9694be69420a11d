#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Do the documents say what is there?

- Every option of `hyb help VERB` is in docs/cli.md and in the man page, and is
  offered by completion; and they name no option that is not there.
- `hyb VERB` in a block of sh is a verb, with options that it has.
- Every block of yaml passes `hyb validate`: as it is, or, without `hyb: 1`, as
  a part of a stack, a VM or a container. Of a key that is there twice each is a
  way to write it.
- Links and their anchors lead somewhere, and so do paths of the sources.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
HYB = os.path.abspath("build/%s/bin/hyb" % os.environ.get("HYB_VARIANT", "default"))
count = failed = 0


def test(name, problems):
    global count, failed
    count += 1
    for p in problems:
        print("#", p)
    failed += bool(problems)
    print("%s %d - %s" % ("not ok" if problems else "ok", count, name))


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def hyb(*words, cwd=None):
    # A root of no instance: nothing here may need one.
    env = {"PATH": os.environ["PATH"], "HYB_ROOT": "/nonexistent/root"}
    r = subprocess.run([HYB, *words], capture_output=True, text=True, env=env,
                       cwd=cwd, stdin=subprocess.DEVNULL, timeout=60, check=False)
    return r.returncode, r.stdout, r.stderr


def documents():
    """The Markdown files, as git has them where there is one."""
    found = []
    for top, dirs, files in os.walk("."):
        dirs[:] = [d for d in dirs if d not in ("build", ".git")]
        found += [os.path.relpath(os.path.join(top, f))
                  for f in files if f.endswith(".md")]
    return sorted(found)


def blocks(path):
    """(line, what stands behind ```, text) of every fenced block."""
    begin = kind = None
    lines = []
    for n, line in enumerate(read(path).split("\n"), 1):
        fence = re.match(r"\s*```(.*)$", line)
        if begin is None and fence:
            begin, kind, lines = n, fence[1].strip(), []
        elif begin is not None and fence:
            yield begin, kind, "\n".join(lines) + "\n"
            begin = None
        elif begin is not None:
            lines.append(line)


# ------------------------------------------------------------------- options

OPTION = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*")


def options(text):
    """[["-a", "--all"], ...] of the lines of a help's list."""
    return [OPTION.findall(re.match(r"\s+((?:-\w, )?--[\w-]+)", line)[1])
            for line in text.split("\n") if re.match(r"\s+(-\w, )?--", line)]


def verbs():
    """verb -> (its own options, those of every verb)"""
    names = re.findall(r"^  ([a-z-]+(?: [a-z]+)?) +[A-Z]", hyb("help")[1], re.M)
    found = {}
    for name in names:
        own, rest = hyb("help", *name.split())[1].split("options of every verb:")
        found[name] = options(own.partition("\noptions:\n")[2]), options(rest)
    return found


def forms(head):
    """The verbs that a heading such as `image ls · inspect` names."""
    words = [w.strip() for w in re.split(r"[·,]", head)]
    group = None
    for w in words:
        m = re.match(r"(?:hyb )?([a-z][a-z-]*)(?: ([a-z]+)\b)?", w)
        if not m:
            continue
        two = m[2] and "%s %s" % (m[1], m[2]) in VERBS
        one = not two and m[1] in VERBS
        if two:
            group = m[1]
            yield "%s %s" % (m[1], m[2])
        elif group and "%s %s" % (group, m[1]) in VERBS:
            yield "%s %s" % (group, m[1])
        elif one:
            yield m[1]


def sections_of_cli_md():
    """verb -> (first cells of its rows, all that is said of it)"""
    text = read("docs/cli.md")
    heads = {v: "" for v in VERBS}
    said = dict(heads)
    for row in re.findall(r"^\| `(.*)$", text, re.M):
        head = row.replace("\\|", "/").split("|")[0]
        for v in forms(head.replace("`", "")):
            heads[v] += head
            said[v] += row
    for title, body in re.findall(r"^## (\S+).*?\n(.*?)(?=^## |\Z)", text, re.M | re.S):
        if title in said:
            said[title] += body
    return heads, said


def sections_of_man():
    text = read("docs/man/hyb.1.scd").split("# VERBS")[1].split("# OPTIONS")[0]
    heads = {v: "" for v in VERBS}
    said = dict(heads)
    for entry in re.split(r"\n\n(?=\*)", text):
        head, _, body = re.sub(r"[*_]", "", entry.strip()).partition("\n\t")
        names = set(forms(head.split("[")[0] if "," not in head else head))
        for v in names | set(forms(head)):
            heads[v] += head
            said[v] += head + body
    return heads, said


def check_options(page, sections, common):
    heads, said = sections
    problems = []
    for v, (own, every) in VERBS.items():
        if v in ("help",):
            continue
        if not said[v]:
            problems.append("%s: nothing about `hyb %s`" % (page, v))
            continue
        for names in own:
            if not set(names) & (set(OPTION.findall(said[v])) | common):
                problems.append("%s: `hyb %s` without %s" % (page, v, ", ".join(names)))
    known = {}
    for v, h in heads.items():
        known.setdefault(h, set()).update(n for names in VERBS[v][0] + VERBS[v][1] for n in names)
    for h, names in known.items():
        for o in set(OPTION.findall(h)) - names:
            # Bundled flags (-it), and what stands for standard input.
            if o.startswith("--") or not all("-" + c in names for c in o[1:]):
                problems.append("%s: no such option: %s, in: %s" % (page, o, h.strip()))
    return problems


def check_json():
    """What -o json gives is said of every verb that has it."""
    text = read("docs/cli.md").split("## Output for programs")[1].split("\n## ")[0]
    items = re.findall(r"^- (.*?)(?::|gives)", text, re.M)
    told = {v for i in items for v in forms(i.replace("`", ""))}
    told |= {"exec"} if any("exec --ls" in i for i in items) else set()
    return ["docs/cli.md: nothing about the JSON of `hyb %s`" % v
            for v in VERBS
            if v not in told and "table|json" in hyb("help", *v.split())[1]]


def check_completion():
    problems = []
    for v, (own, every) in VERBS.items():
        offered = hyb("__complete", "--", *v.split(), "-")[1].split()
        for names in own + every:
            if names[-1] not in offered:
                problems.append("completion: %s of `hyb %s` is not offered" % (names[-1], v))
    return problems


# -------------------------------------------------------------------- blocks

def check_commands():
    problems = []
    for path in DOCUMENTS:
        for line, kind, text in blocks(path):
            if kind != "sh":
                continue
            for n, command in enumerate(text.split("\n"), line + 1):
                command = command.split("#")[0]
                words = re.match(r"\s*hyb ([^|;]*)", command)
                if not words:
                    continue
                words = words[1].split(" -- ")[0].split()
                v = next((v for v in (" ".join(words[:2]), words[0]) if v in VERBS), None)
                if not v:
                    problems.append("%s:%d: no such verb: %s" % (path, n, command.strip()))
                    continue
                names = {x for o in VERBS[v][0] + VERBS[v][1] for x in o}
                for o in OPTION.findall(" ".join(words)):
                    if o not in names and (o.startswith("--") or
                                           not all("-" + c in names for c in o[1:])):
                        problems.append("%s:%d: `hyb %s` has no %s" % (path, n, v, o))
    return problems


# What stands around a part: whatever the documents' parts refer to.
AROUND = """hyb: 1
name: whole
vms:
  here:
    containers:
      db: { image: postgres }
      migrate: { image: app }
%s
  data:
    containers:
      postgres: { image: postgres }
      redis: { image: redis, healthcheck: { tcp: { port: 6379 } } }
volumes: { data: { size: 1g }, static: { size: 1g } }
secrets: { pg_password: { external: true }, tls: { external: true } }
configs: { conf: { content: x } }
"""


def alternatives(text):
    """Maps of the top keys: of one that is there twice, each in a map."""
    maps = [{}]
    for part in re.split(r"^(?=[a-z_]+:)", text, flags=re.M):
        if re.match(r"[a-z_]+:", part):
            key, _, value = part.partition(":")
            if key in maps[-1]:
                maps.append({})
            maps[-1][key] = value
    return maps


def lines(keys, indent):
    text = "".join("%s:%s" % (k, v.rstrip() + "\n") for k, v in keys.items())
    return re.sub("^", " " * indent, text.rstrip(), flags=re.M)


def as_stack(part):
    return lines({"hyb": " 1", "name": " whole",
                  "vms": " { here: { containers: { it: { image: app } } } }", **part}, 0)


def as_vm(part):
    return "hyb: 1\nname: whole\nvms:\n  here:\n" + lines(part, 4)


def as_container(part):
    return AROUND % ("      it:\n" + lines({"image": " app", **part}, 8))


def check_blocks():
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        for f in ("tls.key", "a.conf", "conf/app.conf"):
            os.makedirs(os.path.dirname(os.path.join(folder, f)), exist_ok=True)
            with open(os.path.join(folder, f), "w", encoding="utf-8") as out:
                out.write("x\n")
        for path in DOCUMENTS:
            for line, kind, text in blocks(path):
                where = "%s:%d" % (path, line)
                if kind == "yaml":
                    problems += check_manifests(where, text, folder)
                try:
                    if kind == "json":
                        json.loads(text)
                    elif kind == "toml":
                        tomllib.loads(text)
                except ValueError as e:
                    problems.append("%s: %s" % (where, e))
    return problems


def validate(text, folder):
    """What is wrong with a manifest: lines."""
    with open(os.path.join(folder, "m.yaml"), "w", encoding="utf-8") as f:
        f.write(text)
    status, _, err = hyb("validate", "m.yaml", cwd=folder)
    return err.strip().split("\n") if status else []


def check_manifests(where, text, folder):
    if re.search(r"^hyb:", text, re.M):
        ways = [[validate(text, folder)]]
    else:
        ways = [[validate(way(part), folder) for way in (as_stack, as_vm, as_container)]
                for part in alternatives(text)]
    return ["%s: %s" % (where, line) for way in ways for line in min(way, key=len)]


# --------------------------------------------------------------------- links

def anchors(path):
    found = set()
    for title in re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", read(path), flags=re.M | re.S), re.M):
        a = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", title).lower()).replace(" ", "-")
        n = 0
        while (a if n == 0 else "%s-%d" % (a, n)) in found:
            n += 1
        found.add(a if n == 0 else "%s-%d" % (a, n))
    return found


def check_links():
    problems = []
    for path in DOCUMENTS:
        text = re.sub(r"^```.*?^```", "", read(path), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            to, _, anchor = target.partition("#")
            to = os.path.normpath(os.path.join(os.path.dirname(path), to)) if to else path
            if not os.path.exists(to):
                problems.append("%s: there is no %s" % (path, target))
            elif anchor and anchor not in anchors(to):
                problems.append("%s: no heading for %s" % (path, target))
    return problems


def check_paths():
    problems = []
    # An instance's folder has images, too.
    tops = "common|docs|guest-agent|host-agent|images/guest|images/oci|kernel-config|tests"
    for path in DOCUMENTS:
        for p in re.findall(r"`((?:%s)/[\w./-]+)`" % tops, read(path)):
            if not os.path.exists(p.rstrip("/")):
                problems.append("%s: there is no %s" % (path, p))
    return problems


DOCUMENTS = documents()
VERBS = verbs()
test("hyb help lists verbs and their options",
     [] if len(VERBS) > 40 and VERBS["ps"][0] else ["read: %s" % VERBS])
# The man page says of all listings at once that they take these.
test("options in docs/cli.md", check_options("docs/cli.md", sections_of_cli_md(), set()))
test("options in hyb(1)", check_options("hyb.1", sections_of_man(), {"--output", "--no-trunc"}))
test("members of JSON in docs/cli.md", check_json())
test("options in completion", check_completion())
test("commands in the documents", check_commands())
test("yaml, json and toml in the documents", check_blocks())
test("links in the documents", check_links())
test("paths in the documents", check_paths())
print("1..%d" % count)
sys.exit(failed > 0)
