#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Real programs from Debian's packages: Redis, PostgreSQL, nginx and Python do
# some work, and what they have written is there after `down` and `deploy`.
. "$(dirname "$0")/lib.sh"

for i in nginx redis postgresql python3; do
	make -s "build/images/$i.tar" >/dev/null 2>&1
	check "load $i" hyb image load "build/images/$i.tar"
done
inside() { hyb exec "programs/data/$1" -- "${@:2}"; }
sql() { inside postgres psql -h 127.0.0.1 -U postgres -Atc "$1" postgres; }

port=$(free_ports 1)
sed "s/:18082:/:$port:/" docs/examples/programs.yaml >"$WORK/programs.yaml"
check "deploy" hyb deploy --timeout 300s "$WORK/programs.yaml"
like "the image's user runs PostgreSQL" "$(inside postgres id -un)" '^postgres$'

# Keys N with values 7N, as Redis's protocol has them. An emulated processor
# takes half a minute for a million of them, and so long to read them again.
sets=${SETS:-200000}
keys() {
	python3 -c 'import sys
for n in range(int(sys.argv[1])):
    v = 7 * n
    print(f"*3\r\n$3\r\nSET\r\n${len(str(n))}\r\n{n}\r\n${len(str(v))}\r\n{v}\r")' $sets
}
out=$(keys | hyb exec -i programs/data/redis -- redis-cli --pipe 2>&1)
like "Redis takes $sets SETs" "$(echo "$out" | tail -1)" "^errors: 0, replies: $sets"
# Every 9,973rd, and how many there are.
kept_keys() {
	inside redis redis-cli dbsize
	inside redis redis-cli mget $(seq 0 9973 $((sets - 1))) | cksum
}
values="$sets
$(seq 0 $((7 * 9973)) $((7 * (sets - 1))) | cksum)"
is "and has them" "$(kept_keys)" "$values"

check "PostgreSQL fills a database" inside postgres pgbench -h 127.0.0.1 -U postgres -i -s 1 -q postgres
out=$(inside postgres pgbench -h 127.0.0.1 -U postgres -c 2 -t 100 postgres 2>&1)
like "and pgbench runs its transactions" "$out" "processed: 200/200"
# What each transaction adds to an account, a teller, a branch and the history.
balances="select count(distinct s), sum(s) from (
	select sum(abalance) s from pgbench_accounts union all
	select sum(tbalance) from pgbench_tellers union all
	select sum(bbalance) from pgbench_branches union all
	select sum(delta) from pgbench_history) sums;
select count(*) from pgbench_accounts; select count(*) from pgbench_history"
sum=$(sql "$balances")
like "its four sums are one" "$(echo "$sum" | tr '\n' ' ')" '^1\|-?[0-9]+ 100000 200 $'

check "Python computes" inside page python3 -c '
import hashlib, json, sqlite3, ssl, zlib
db = sqlite3.connect(":memory:")
db.execute("create table t(n)")
db.executemany("insert into t values (?)", ((i,) for i in range(10000)))
assert db.execute("select sum(n) from t").fetchone()[0] == 49995000
assert zlib.decompress(zlib.compress(b"x" * 100000)) == b"x" * 100000
assert json.loads(json.dumps({"a": [1, 2]})) == {"a": [1, 2]}
assert ssl.OPENSSL_VERSION and hashlib.sha256(b"").hexdigest().startswith("e3b0")'
like "and serves a page" "$(inside page python3 -c 'import urllib.request as u
for _ in range(50): page = u.urlopen("http://127.0.0.1:8000/decoder.py").read()
print(len(page))')" '^[0-9]{4,}$'

served() { tests/e2e/load.py "http://127.0.0.1:$port/" images/oci/nginx/index.html "$1" 8 2>&1; }
like "nginx answers 500 requests of 8 clients" "$(served 500)" '^500 of 500 right'

check "down" hyb down programs
check "deploy again" hyb deploy --timeout 300s "$WORK/programs.yaml"
is "Redis has what it had" "$(kept_keys)" "$values"
is "PostgreSQL too" "$(sql "$balances")" "$sum"
like "nginx answers again" "$(served 50)" '^50 of 50 right'
check "down, with the data" hyb down --volumes programs
