#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a new user does, and what they should not: each error names the object
# and says what to do.
. "$(dirname "$0")/lib.sh"

cat >"$WORK/u.yaml" <<'Y'
hyb: 1
name: u
vms:
  v:
    containers:
      a:
        image: busybox
        command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
        environment: ["UML=äöü ☃", "SPACES=a  b", "QUOTE='\"$HOME`id`"]
        working_dir: /made/up
      bad: { image: busybox, command: /no/such/program }
      who: { image: busybox, command: id, user: nosuchuser }
Y
sed 's/name: u/name: w/; /bad:/d; /who:/d' "$WORK/u.yaml" >"$WORK/w.yaml"

# Images: what the file is called, and errors that name it once.
load_images
fails "not there" 1 "image load '/no/file.tar': open" hyb image load /no/file.tar
: >"$WORK/empty.tar"
fails "the file is named" 1 "^hyb: image load '$WORK/empty.tar': the file is empty" hyb image load "$WORK/empty.tar"
fails "a name with a transport" 2 "hint: leave out" hyb image pull docker://x/y
fails "no image of that name" 4 "hint: .hyb image pull" hyb image rm nothere

# Deployments that fail.
fails "deploy with containers that cannot run" 1 "hint|/no/such/program|nosuchuser" hyb deploy "$WORK/u.yaml"
is "no such program" "$(field u/v/bad 'reason + "," + (.[0].exit_code | tostring)')" "StartError,127"
like "said once" "$(hyb inspect u/v/bad | jq -r .message)" "^exec: '/no/such/program': No such file"
like "no such user" "$(hyb inspect u/v/who | jq -r .message)" "user 'nosuchuser' is not in the image"
fails "plan says that they have failed" 8 "u/v/bad .*has failed" hyb plan "$WORK/u.yaml"
fails "exec in what does not run" 125 "hint: .hyb logs u/v/bad" hyb exec u/v/bad -- id

# Odd characters, and what is made.
is "environment" "$(hyb exec u/v/a -- sh -c 'echo "$UML|$SPACES|$QUOTE|$PWD"')" "äöü ☃|a  b|'\"\$HOME\`id\`|/made/up"
is "exec -e" "$(hyb exec -e 'U=ä ☃"' u/v/a -- sh -c 'echo "$U"')" 'ä ☃"'
is "a reader that leaves ends the command" "$(timeout 60 hyb exec u/v/a -- yes | head -2 | tr '\n' ' ')" "y y "

# Names: hints are of the stack that was meant.
check "a second stack" hyb deploy "$WORK/w.yaml"
out=$(hyb exec u -- id 2>&1)
is "several containers" $? 4
like "the hint names them" "$out" 'hint: there is: u/v/a, u/v/bad, u/v/who$'
fails "no such stack" 4 "hint: there is:" hyb logs nothere
fails "not a name" 2 "is not a name" hyb logs a/b/c/d
fails "one verb too far" 2 "did you mean .hyb deploy" hyb deplyo x
fails "not built yet" 2 "not supported yet" hyb scale u
fails "unknown option" 2 "did you mean '--tail'" hyb logs --tial 3 u
like "completion of an option's value" "$(hyb __complete -- ps -o '')" '^json$'

# A log that is followed goes on where it was with the next hybd.
cat >"$WORK/count.yaml" <<'Y'
hyb: 1
name: count
vms:
  v:
    containers:
      c:
        image: busybox
        command: ["sh", "-c", "for i in $(seq 1000); do echo $i; usleep 5000; done"]
        restart: no
Y
check "deploy what counts" hyb deploy "$WORK/count.yaml"
hyb logs -f count >"$WORK/log" 2>"$WORK/log.err" &
LOG=$!
sleep 1
kill_9 "$(hybd_pid)"
sleep 0.5
check "another hybd" hyb ps
wait $LOG
is "logs -f ends with its container" $? 0
seq 1000 >"$WORK/wanted"
check "and has every line once" cmp "$WORK/log" "$WORK/wanted"
is "nothing else was said" "$(cat "$WORK/log.err")" ""
check "down" hyb down u w count
