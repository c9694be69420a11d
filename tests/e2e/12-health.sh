#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Health and readiness: what is checked in the guest, what it gates, what
# follows, and that none of it needs a hybd to be there.
. "$(dirname "$0")/lib.sh"
read -r PORT <<<"$(free_ports 1)"

cat >"$WORK/h.yaml" <<'Y'
hyb: 1
name: h
vms:
  one:
    resources: { memory: 512m }
    containers:
      db:
        image: busybox
        command: ["sh", "-c", "sleep 2; touch /ok; exec sleep 1000"]
        readiness: { test: "test -e /ok", interval: 500ms }
        stop_grace_period: 0s
      web:
        image: busybox
        command: ["sh", "-c", "mkdir /www; echo hello >/www/index.html; exec httpd -f -p 8080 -h /www"]
        depends_on: { db: { condition: healthy } }
        healthcheck: { http: { port: 8080 }, interval: 500ms, retries: 2, on_failure: none }
        readiness: { test: ["CMD", "test", "!", "-e", "/busy"], interval: 300ms, retries: 1 }
        ports: ["127.0.0.1:@PORT:8080"]
        stop_grace_period: 0s
      flaky:
        image: busybox
        command: sleep 1000
        restart: always
        healthcheck: { test: "! test -e /bad", interval: 300ms, retries: 2 }
        stop_grace_period: 0s
Y
sed -i "s/@PORT/$PORT/" "$WORK/h.yaml"
pid_of() { hyb inspect "$1" | jq -r .pid; }
check_of() { hyb inspect "$1" | jq -r ".checks.health | [.status, .exit_code, .message, (.output | join(\"/\") | .[0:30])] | join(\"|\")"; }
said() { check_of "$1" | grep -Eq -- "$2"; }
restarted() { [ "$(field "$1" restarts)" -ge "$2" ]; }

# An image with a HEALTHCHECK: busybox with another configuration.
mkdir "$WORK/layout" && tar xf build/images/busybox.tar -C "$WORK/layout"
python3 - "$WORK/layout" <<'P'
import hashlib, json, os, sys
d = sys.argv[1]
blob = lambda s: os.path.join(d, 'blobs', *s.split(':'))
def put(o):
    b = json.dumps(o).encode()
    s = 'sha256:' + hashlib.sha256(b).hexdigest()
    open(blob(s), 'wb').write(b)
    return s, len(b)
index = json.load(open(d + '/index.json'))
m = json.load(open(blob(index['manifests'][0]['digest'])))
c = json.load(open(blob(m['config']['digest'])))
c['config']['Healthcheck'] = {'Test': ['CMD-SHELL', 'echo by the image; exit 4'],
                              'Interval': 300000000, 'Retries': 1}
m['config']['digest'], m['config']['size'] = put(c)
e = index['manifests'][0]
e['digest'], e['size'] = put(m)
e.pop('annotations', None)
json.dump(index, open(d + '/index.json', 'w'))
P
load_images
check "load an image with a HEALTHCHECK" hyb image load "$WORK/layout" --name checked

# --------------------------------------------------- order, words, gates
check "deploy: waits until all is healthy" hyb deploy "$WORK/h.yaml"
is "health" "healthy healthy healthy" "$(hyb ps -o json h | jq -r '[.[].health] | join(" ")')"
like "in the table, too" "$(hyb ps h)" '^NAME +STATE +HEALTH.*'
is "depends_on healthy: web began when db was ready" true \
	"$(hyb ps -o json h | jq '(map({(.container): .started_at | fromdate}) | add) | .web - .db >= 1')"
check "a published port of a ready container" curl -sf -m 60 "http://127.0.0.1:$PORT/"
check "becomes busy" hyb exec h/one/web -- touch /busy
await "not ready" 10 has h/one/web health "not ready"
closed() { ! curl -s -m 60 "http://127.0.0.1:$1/" >/dev/null; }
check "its port is closed" closed "$PORT"
check "which does not restart it" has h/one/web restarts 0
check "and is free again" hyb exec h/one/web -- rm /busy
await "ready" 10 has h/one/web health healthy
check "its port is open" curl -sf -m 60 "http://127.0.0.1:$PORT/"
is "deployed again: nothing to do" 0 "$(hyb plan "$WORK/h.yaml" >/dev/null; echo $?)"

# ------------------------------------------------------------ live changes
PID=$(pid_of h/one/web)
sed 's/port: 8080 }, interval/port: 8080, path: \/nope }, interval/' "$WORK/h.yaml" >"$WORK/h2.yaml"
like "another check is a live change" "$(hyb plan "$WORK/h2.yaml")" 'live.*healthcheck changed'
fails "deploy: what a check says" 1 "container 'one/web' is unhealthy: HTTP status 404" hyb deploy "$WORK/h2.yaml"
is "unhealthy, with on_failure none it runs on" "unhealthy HealthCheck unhealthy 0 $PID" \
	"$(hyb ps -o json h/one/web | jq -r '.[0] | "\(.state) \(.reason) \(.health) \(.restarts) \(.pid)"')"
like "inspect: the last result" "$(check_of h/one/web)" '^unhealthy\|-1\|HTTP status 404\|<HTML>.*404'
check "and back" hyb deploy "$WORK/h.yaml"
is "the container is the same" "running healthy $PID" "$(field h/one/web state) $(field h/one/web health) $(pid_of h/one/web)"

# ----------------------------------------------- restarts, with and without hybd
check "it fails" hyb exec h/one/flaky -- touch /bad
await "what is unhealthy is restarted" 15 restarted h/one/flaky 1
await "and healthy" 10 has h/one/flaky health healthy
like "and said why" "$(cat "$HYB_ROOT/hybd.log")" 'h/one/flaky: failed: HealthCheck: exit code 1'
hyb exec h/one/flaky -- sh -c '(sleep 1; touch /bad) >/dev/null 2>&1 &'
hyb exec h/one/web -- sh -c '(sleep 1; touch /busy) >/dev/null 2>&1 &'
PID=$(pid_of h/one/web)
kill_9 "$(hybd_pid)"
await "without a hybd, too, a port is closed" 10 closed "$PORT"
is "the next hybd knows at once" "not ready" "$(field h/one/web health)"
await "and restarts what is unhealthy" 15 restarted h/one/flaky 2
await "healthy" 10 has h/one/flaky health healthy
is "nothing else was touched" "$PID 0" "$(pid_of h/one/web) $(field h/one/web restarts)"
check "down" hyb down h

# ------------------------------------------------------- what checks can meet
cat >"$WORK/c.yaml" <<'Y'
hyb: 1
name: c
x-common: &common { image: busybox, command: sleep 1000, stop_grace_period: 0s }
vms:
  one:
    resources: { memory: 1g }
    containers:
      servers:
        <<: *common
        command:
          - sh
          - -c
          - |
            serve() { while :; do "$1" | nc -l -p "$2" >/dev/null; done; }
            bad() { printf 'HTTP/1.1 500 No\r\nX: y\r\n\r\nout of order'; }
            endless() { printf 'HTTP/1.1 200 OK\r\n\r\n'; yes; }
            noise() { yes; }
            serve bad 8001 & nc -ll -p 8002 -e sleep 30 & serve endless 8003 & serve noise 8004 &
            httpd -f -p 8005 -h /tmp
      bad: { <<: *common, healthcheck: { http: { port: 8001 }, interval: 300ms, retries: 1, on_failure: none } }
      slow: { <<: *common, healthcheck: { http: { port: 8002 }, timeout: 300ms, interval: 300ms, retries: 1 } }
      endless: { <<: *common, healthcheck: { http: { port: 8003 }, interval: 300ms, timeout: 2s } }
      noise: { <<: *common, healthcheck: { http: { port: 8004 }, interval: 300ms, retries: 1 } }
      open: { <<: *common, healthcheck: { tcp: { port: 8005 }, interval: 300ms } }
      closed: { <<: *common, healthcheck: { tcp: { port: 8006 }, interval: 300ms, retries: 1 } }
      hangs: { <<: *common, healthcheck: { test: "echo waiting; sleep 100 & sleep 200; :", timeout: 1s, interval: 300ms, retries: 2 } }
      loud: { <<: *common, healthcheck: { test: [CMD, "yes"], timeout: 1s, interval: 300ms, retries: 1 } }
      missing: { <<: *common, healthcheck: { test: [CMD, "no-such-program"], interval: 300ms, retries: 1 } }
      late: { <<: *common, healthcheck: { test: "test -e /ok", interval: 300ms, retries: 1, start_period: 60s } }
      image: { <<: *common, image: checked }
      nocheck: { <<: *common, image: checked, healthcheck: { test: [NONE] } }
Y
check "deploy what is checked in all ways" hyb deploy --no-wait "$WORK/c.yaml"
await "they are there" 30 hyb exec c/one/nocheck -- true
await "http: 500, and the answer" 15 said c/one/bad '^unhealthy\|-1\|HTTP status 500\|out of order$'
await "http: no answer" 15 said c/one/slow '^unhealthy\|-1\|port 8002: no answer within 300 ms'
await "http: an endless answer is one" 15 said c/one/endless '^healthy'
await "http: what is none" 15 said c/one/noise '^unhealthy\|-1\|port 8004: the answer is not HTTP'
await "tcp: open" 15 said c/one/open '^healthy'
await "tcp: closed" 15 said c/one/closed '^unhealthy\|-1\|port 8006: Connection refused'
await "exec: hangs" 15 said c/one/hangs '^unhealthy\|-1\|timed out after 1000 ms\|waiting'
await "exec: endless output" 15 said c/one/loud '^unhealthy\|-1\|timed out.*y/y/y'
await "exec: not there" 15 said c/one/missing '^unhealthy\|127\|.*No such file'
await "by its image" 15 said c/one/image '^unhealthy\|4\|exit code 4\|by the image$'
is "with restart: no they run on" "unhealthy 0" "$(field c/one/image state) $(field c/one/image restarts)"
is "NONE: not by its image" "running " "$(field c/one/nocheck state) $(field c/one/nocheck health)"
# For a moment what was killed is a zombie, and what was forked has the words of
# its parent.
no_zombie() { [ "$(hyb exec c/one/hangs -- ps -o stat,args | grep -c '^Z')" = 0 ]; }
await "what hung is gone, and has left no zombie" 60 no_zombie
is "of it there is at most one at a time" true \
	"$(hyb exec c/one/hangs -- ps -o args | grep -cx 'sleep 200' | jq '. <= 1')"
is "in its start period" starting "$(field c/one/late health)"
check "it comes up" hyb exec c/one/late -- touch /ok
await "healthy" 10 has c/one/late health healthy
check "and down" hyb exec c/one/late -- rm /ok
await "from the first success on failures count" 10 has c/one/late health unhealthy
check "paused" hyb pause c/one/late
AT=$(hyb inspect c/one/late | jq .checks.health.at)
sleep 1
is "what is paused is not checked" "paused $AT" "$(field c/one/late state) $(hyb inspect c/one/late | jq .checks.health.at)"
check "resumed" hyb resume c/one/late
checked_again() { [ "$(hyb inspect c/one/late | jq .checks.health.at)" -gt "$AT" ]; }
await "it goes on" 10 checked_again
check "down" hyb down c

# ------------------------------------------- deployments that do not get there
cat >"$WORK/f.yaml" <<'Y'
hyb: 1
name: f
vms:
  one:
    containers:
      never:
        image: busybox
        command: sleep 1000
        readiness: { test: "echo not yet; exit 1", interval: 300ms }
        stop_grace_period: 0s
Y
check "deploy what is never ready" hyb deploy --no-wait "$WORK/f.yaml"
not_yet() { [ "$(hyb inspect f/one/never | jq .checks.readiness.exit_code)" = 1 ]; }
await "it is checked" 60 not_yet
fails "deploy: not ready in time" 6 "waits for its readiness: exit code 1: not yet" hyb deploy --timeout 2s "$WORK/f.yaml"
check "it runs" has f/one/never state running
cat >>"$WORK/f.yaml" <<'Y'
      crashes:
        image: busybox
        command: sleep 1000
        restart: always
        healthcheck: { test: "echo broken; exit 3", interval: 200ms, retries: 1 }
        stop_grace_period: 0s
      alone: { image: busybox, command: sleep 1000, stop_grace_period: 0s }
      waits: { image: busybox, command: sleep 1000, depends_on: { alone: { condition: healthy } } }
Y
sed -i '/never:/,/stop_grace/d' "$WORK/f.yaml"
fails "deploy: unhealthy, by its last words" 1 "(has failed: HealthCheck|is unhealthy): exit code 3: broken|alone, which is to be healthy first" \
	hyb deploy "$WORK/f.yaml"
in_backoff() { [ "$(hyb ps -a -o json f/one/crashes | jq -r '.[0] | "\(.state) \(.reason)"')" = "failed HealthCheck" ]; }
await "again and again, with a back-off" 20 in_backoff
await "counted" 20 restarted f/one/crashes 2
like "healthy, of what has no check" "$(hyb inspect f/one/waits | jq -r .message)" "alone, which is to be healthy first, has no health check, and its image has none"
check "down" hyb down f

# ------------------------------------------------------------------ restart_vm
cat >"$WORK/v.yaml" <<'Y'
hyb: 1
name: v
vms:
  one:
    containers:
      sick:
        image: busybox
        command: sleep 1000
        healthcheck: { test: "! test -e /bad", interval: 300ms, retries: 1, on_failure: restart_vm }
        stop_grace_period: 0s
Y
check "deploy" hyb deploy "$WORK/v.yaml"
check "it fails" hyb exec v/one/sick -- touch /bad
await "its VM is made again" 20 vm_restarts v/one 1
await "and it is healthy" 20 has v/one/sick health healthy
like "and said why" "$(cat "$HYB_ROOT/hybd.log")" 'v/one: died: HealthCheck'
