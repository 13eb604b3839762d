#!/usr/bin/env bash
# Looks for what vkdomino needs from the system and installs what is missing.
#
#   setup.sh run    Go, a C compiler, the Vulkan loader and a Vulkan driver
#   setup.sh test   the same, and the Vulkan validation layer
#
# When all is there it only looks at files, takes a fraction of a second and
# prints nothing. Otherwise, as root on a system with apt-get, it installs the
# missing packages; as another user it prints the command and exits 1.
set -euo pipefail

readonly oldest_go=21 # Go 1.21 is the first that fetches the toolchain which go.mod names

mode=${1:-run}
case $mode in
run | test) ;;
*)
	echo "setup: want run or test, got '$mode'" >&2
	exit 2
	;;
esac

# library NAME: whether the dynamic linker knows the library.
library() {
	local known
	known=$("$(command -v ldconfig || echo /sbin/ldconfig)" -p 2>/dev/null) || return 1
	[[ $known == *"$1"* ]]
}

# data_files SUBFOLDER: the JSON files that the Vulkan loader reads there, one a line.
data_files() {
	local folder file
	for folder in "${XDG_CONFIG_HOME:-${HOME:-}/.config}" /etc/xdg /etc \
		"${XDG_DATA_HOME:-${HOME:-}/.local/share}" /usr/local/share /usr/share; do
		for file in "$folder/vulkan/$1"/*.json; do
			[[ -r $file ]] && echo "$file"
		done
	done
	return 0
}

# listed PATHS: the JSON files in a colon-separated list of files and folders.
listed() {
	local entry file
	while IFS= read -r -d : entry; do
		for file in "$entry" "$entry"/*.json; do
			[[ -f $file && -r $file ]] && echo "$file"
		done
	done <<<"$1:"
	return 0
}

# driver_files: the driver manifests in use; the environment replaces the folders.
driver_files() {
	local chosen=${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-}}
	if [[ -n $chosen ]]; then
		listed "$chosen"
	else
		data_files icd.d
	fi
}

# usable MANIFEST: whether the driver library that a manifest names is there. One
# of NVIDIA's counts only where the kernel has the device.
usable() {
	local path
	path=$(sed -n 's/.*"library_path"[^"]*"\([^"]*\)".*/\1/p' "$1" | head -n 1)
	case $path in
	'') return 1 ;;
	*nvidia*) [[ -e /dev/nvidiactl || -e /dev/dxg ]] || return 1 ;;&
	/*) [[ -e $path ]] ;;
	*/*) [[ -e $(dirname "$1")/$path ]] ;;
	*) library "$path" ;;
	esac
}

has_driver() {
	local manifest
	while IFS= read -r manifest; do
		usable "$manifest" && return 0
	done < <(driver_files)
	return 1
}

has_compiler() {
	# the headers too: a compiler without them is what a minimal image may have
	printf '#include <stdlib.h>\n#include <dlfcn.h>\n' | "${CC:-gcc}" -E - >/dev/null 2>&1
}

has_layer() {
	local file
	while IFS= read -r file; do
		grep -q VK_LAYER_KHRONOS_validation "$file" && return 0
	done < <(if [[ -n ${VK_LAYER_PATH:-} ]]; then listed "$VK_LAYER_PATH"; else data_files explicit_layer.d; fi)
	return 1
}

# missing: the Debian packages for what is not there.
missing() {
	has_compiler || echo gcc libc6-dev
	library libvulkan.so.1 || echo libvulkan1
	has_driver || echo mesa-vulkan-drivers
	if [[ $mode == test ]]; then
		has_layer || echo vulkan-validationlayers
	fi
}

check_go() {
	local version
	version=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null || true)
	if [[ ! $version =~ ^go1\.([0-9]+) ]]; then
		echo "setup: Go: want 1.$oldest_go or newer on PATH, found none; install it from your distribution or the Go project" >&2
		exit 1
	fi
	if ((BASH_REMATCH[1] < oldest_go)); then
		echo "setup: Go: want 1.$oldest_go or newer, got $version; newer ones fetch ${GOTOOLCHAIN:-the pinned toolchain} by themselves" >&2
		exit 1
	fi
}

check_go
mapfile -t packages < <(missing | tr ' ' '\n')
((${#packages[@]} == 0)) && exit 0

install="apt-get install -y --no-install-recommends ${packages[*]}"
if ! command -v apt-get >/dev/null; then
	echo "setup: missing: ${packages[*]} (Debian's names); install them with this system's package manager" >&2
	exit 1
fi
if ((EUID != 0)); then
	echo "setup: missing: ${packages[*]}; run this, then make again:" >&2
	echo "  sudo apt-get update && sudo $install" >&2
	exit 1
fi
echo "== setup: installing ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null || echo "setup: apt-get update: incomplete; going on with the lists at hand" >&2
$install
mapfile -t packages < <(missing | tr ' ' '\n')
if ((${#packages[@]} > 0)); then
	echo "setup: still missing after the installation: ${packages[*]}" >&2
	echo "  a driver or layer counts when its .json lies in a Vulkan folder, for example /usr/share/vulkan/icd.d" >&2
	exit 1
fi
