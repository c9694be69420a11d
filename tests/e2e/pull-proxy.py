#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stands between skopeo and a registry on loopback, and counts.

usage: pull-proxy.py REGISTRY-PORT PORT LOG RULES
LOG gets a line "PATH BYTES" for each answer to a GET, and one "PATH begun" when
it is asked for. RULES, read anew for each request, has lines "DIGITS WHAT":
  cut N   after N bytes the connection ends, once (the line goes)
  busy    it is answered with the status 503, once
  wrong   all bytes of the answer are others, of the same number
  hold N  after N bytes they come one by one, 20 a second, until the line is gone"""
import http.client
import http.server
import os
import sys
import threading
import time

UPSTREAM, PORT, LOG, RULES = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
lock = threading.Lock()


def log(*words):
    with lock, open(LOG, "a") as f:
        print(*words, file=f)


def rules():
    try:
        with open(RULES) as f:
            return [line.split() for line in f]
    except FileNotFoundError:
        return []


def rule_of(path, once):
    """What is to be done with the path, and no more where that is once."""
    with lock:
        lines = rules()
        for words in lines:
            if words[0] not in path:
                continue
            if words[1] in ("cut", "busy") and once:
                lines.remove(words)
                with open(RULES + ".new", "w") as f:
                    f.writelines(" ".join(w) + "\n" for w in lines)
                os.rename(RULES + ".new", RULES)
            return words[1:]
    return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def send(self, data, rule):
        sent, at = 0, int(rule[1]) if rule and len(rule) > 1 else None
        while sent < len(data):
            if at is not None and sent >= at:
                if rule[0] == "cut":
                    self.close_connection = True
                    self.connection.close()
                    break
                if rule_of(self.path, False):
                    time.sleep(0.05)
                    self.wfile.write(data[sent:sent + 1])
                    sent += 1
                    continue
                at = None
            end = min(sent + 65536, len(data) if at is None else at)
            self.wfile.write(data[sent:end])
            sent = end
        return sent

    def do_GET(self):
        up = http.client.HTTPConnection("127.0.0.1", UPSTREAM)
        up.request(self.command, self.path,
                   headers={"Accept": ",".join(
                       self.headers.get_all("Accept") or ["*/*"])})
        answer = up.getresponse()
        data = answer.read()
        rule = rule_of(self.path, True) if self.command == "GET" else None
        if rule and rule[0] == "busy":
            log(self.path, "begun")
            return self.send_error(503)
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ("date", "connection"):
                self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if rule and rule[0] == "wrong":
            data, rule = bytes(b ^ 1 for b in data), None
        log(self.path, "begun")
        sent = 0
        try:
            sent = self.send(data, rule)
        except OSError:
            self.close_connection = True
        log(self.path, sent)


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
