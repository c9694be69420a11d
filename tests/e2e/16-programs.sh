#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Real programs from Debian's packages: Redis, PostgreSQL and Python do some
# work, and what they have written is there after `down` and `deploy`.
. "$(dirname "$0")/lib.sh"

for i in redis postgresql python3; do
	make -s "build/images/$i.tar" >/dev/null 2>&1
	check "load $i" hyb image load "build/images/$i.tar"
done
inside() { hyb exec "programs/data/$1" -- "${@:2}"; }
sql() { inside postgres psql -h 127.0.0.1 -U postgres -Atc "$1" postgres; }

check "deploy" hyb deploy --timeout 300s docs/examples/programs.yaml
like "the image's user runs PostgreSQL" "$(inside postgres id -un)" '^postgres$'

out=$(inside redis redis-benchmark -q -t set -n 50000 -r 20000 -P 32 2>&1 | tr '\r' '\n' | grep 'per second' | tail -1)
like "Redis takes 50,000 SETs" "$out" "SET: [0-9.]+ requests per second"
check "and a key of ours" inside redis redis-cli set mark kept
before=$(inside redis redis-cli dbsize)
like "some are different" "$before" '^[0-9]{4,}$'

check "PostgreSQL fills a database" inside postgres pgbench -h 127.0.0.1 -U postgres -i -s 1 -q postgres
out=$(inside postgres pgbench -h 127.0.0.1 -U postgres -c 2 -t 50 postgres 2>&1)
like "and pgbench runs its transactions" "$out" "processed: 100/100"
sum=$(sql "select sum(abalance), count(*) from pgbench_accounts; select count(*) from pgbench_history")
like "the accounts" "$(echo "$sum" | tr '\n' ' ')" '\|100000 100 $'

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

check "down" hyb down programs
check "deploy again" hyb deploy --timeout 300s docs/examples/programs.yaml
is "Redis has what it had" "$(inside redis redis-cli get mark) $(inside redis redis-cli dbsize)" "kept $before"
is "PostgreSQL too" "$(sql "select sum(abalance), count(*) from pgbench_accounts; select count(*) from pgbench_history")" "$sum"
check "down, with the data" hyb down --volumes programs
