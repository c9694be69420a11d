#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Figures, measured side by side in one run: run.sh [NAME]. One line a figure:
#   bench: NAME VALUE UNIT ratio=R # theirs: what it was measured against
# and without a ratio where there is no theirs.
set -eu
cd "$(dirname "$0")/../.."
export PATH=$PWD/build/default/bin:$PATH
export HYB_ACCEL=${HYB_ACCEL:-tcg}
name=${1:-}
vm_figures="cold_deploy exec logs cp guest_fixed_memory smallest_vm host_memory read_image read_volume volume_fsync read_bind image_second image_cache engine_many_agent"
image_figures="image_convert"
pull_figures="pull_second"
host_figures="scratch_ready"
program_figures="programs"
engine_figures="engine_start engine_exec engine_memory engine_many"
all="$vm_figures $image_figures $pull_figures $host_figures $program_figures $engine_figures"
case " $all " in
*" ${name:-exec} "*) ;;
*) echo "bench: unknown '$name'; one of: $all" >&2; exit 2 ;;
esac
for figure in $vm_figures; do
	if [ -z "$name" ] || [ "$name" = "$figure" ]; then
		python3 tests/bench/vm.py "$figure"
	fi
done
case " $image_figures " in
*" ${name:-image_convert} "*) tests/bench/image_convert.sh ;;
esac
if [ -z "$name" ] || [ "$name" = pull_second ]; then
	tests/bench/pull_second.sh
fi
if [ -z "$name" ] || [ "$name" = scratch_ready ]; then
	dir=$(mktemp -d /tmp/hyb-bench.XXXX)
	build/default/tests/bench_scratch_ready "$dir"
	rm -rf "$dir"
fi
if [ -z "$name" ] || [ "$name" = programs ]; then
	python3 tests/bench/programs.py
fi
case " $engine_figures " in
*" ${name:-engine_start} "*) tests/bench/engine.sh $name ;;
esac
