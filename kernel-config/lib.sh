# SPDX-License-Identifier: Apache-2.0
#
# The form of a fragment, known to build.sh and check.sh: one option a line,
# "CONFIG_NAME=value   # reason".

# wanted_options FRAGMENT...: the options without their reasons, as Kconfig
# reads them. A later fragment wins over an earlier one.
wanted_options() {
	cat "$@" | sed -n -E 's/^(CONFIG_[A-Za-z0-9_]+=[^#]*[^#[:space:]])[[:space:]]*(#.*)?$/\1/p' |
		awk -F= '{ last[$1] = NR; line[NR] = $0; name[NR] = $1 }
			END { for (i = 1; i <= NR; i++)
				if (last[name[i]] == i) print line[i] }'
}
