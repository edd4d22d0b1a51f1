#!/usr/bin/env bash
# Builds both shared libraries, compiles the programs of one language against the committed headers and runs them: on the
# test server plain, under valgrind and with ASan; plain on real etcd 3.7 and 3.4. (The test server is where every case of a
# program runs, faults included: a checker of memory sees nothing on etcd that it has not seen there.)
# Owns compilers' flags and the runs; what is checked, the programs say. cargo builds, .ci/setup brings the tools.
#
# usage: tests/abi/run.sh c|cpp        Exit code: 0 all passed, 1 not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

language=${1:-}
libraries=${CARGO_TARGET_DIR:-target}/debug
out=${CARGO_TARGET_DIR:-target}/abi
flags=(-Wall -Wextra -Wpedantic -Werror -g -O1 -Iinclude -Itests/abi -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -pthread)
case $language in
c)
    compiler=(cc -std=c11)
    sources=(tests/abi/*.c)
    ;;
cpp)
    compiler=(c++ -std=c++17)
    sources=(tests/abi/*.cpp)
    ;;
*)
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac

failed=0
# run WHAT COMMAND...: one program; its closing line, and all of its output if it failed
run() {
    local what=$1 output status=0
    shift
    output=$(timeout 300 "$@" 2>&1) || status=$?
    local last
    last=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' <<<"$output" | tail -n 1 || true)
    if ((status == 0)) && [[ -n $last ]]; then
        printf 'ok   %s: %s\n' "$what" "$last"
    else
        printf 'FAIL %s: status %d, %s\n' "$what" "$status" "${last:-no closing line}"
        printf '%s\n' "$output" | tail -n 60 | sed 's/^/    /'
        failed=1
    fi
}

# Real etcd, the newest and the oldest in use; each ends with the run.
etcd_pids=() etcd_folders=() example_pids=()
end_etcd() {
    local pid
    for pid in "${etcd_pids[@]}" "${example_pids[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    ((${#etcd_folders[@]} == 0)) || rm -rf "${etcd_folders[@]}"
}
trap end_etcd EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# start_etcd MINOR: an etcd of that minor version; its endpoint goes to $endpoint.
start_etcd() {
    local program client peer folder version chosen=LEADERSHIP_ETCD_${1/./_}
    for program in "${!chosen:-}" .cache/etcd/"$1"*/etcd "$(type -P etcd || true)"; do
        [[ -n $program && -x $program ]] || continue
        # Not `| head -n 1`: the program would be ended by SIGPIPE, at times, and with `pipefail` that counts as a failure.
        version=$("$program" --version)
        version=${version%%$'\n'*}
        [[ $version == "etcd Version: $1".* ]] && break
        program=""
    done
    [[ -n $program && -x $program ]] || return 1
    client=$(free_port) peer=$(free_port)
    folder=$(mktemp -d)
    etcd_folders+=("$folder")
    "$program" --data-dir "$folder/data" --listen-client-urls "http://127.0.0.1:$client" \
        --advertise-client-urls "http://127.0.0.1:$client" --listen-peer-urls "http://127.0.0.1:$peer" \
        --initial-advertise-peer-urls "http://127.0.0.1:$peer" --initial-cluster "default=http://127.0.0.1:$peer" \
        --log-level error >"$folder/log" 2>&1 &
    etcd_pids+=($!)
    endpoint=127.0.0.1:$client
    echo "$version"
}

echo "==> $language against the C libraries"
${CARGO:-cargo} build --quiet -p leadership-ffi -p leadership-testkit-ffi
libraries=$(cd "$libraries" && pwd)
mkdir -p "$out"

# cargo names the files without a version; programs ask for the versioned soname.
for library in leadership leadership_testkit; do
    soname=$(objdump -p "$libraries/lib$library.so" | awk '/SONAME/ { print $2 }')
    ln -sf "$libraries/lib$library.so" "$out/$soname"
done
out=$(cd "$out" && pwd)
export LD_LIBRARY_PATH=$out

# A header must stand alone.
for header in include/*.h; do
    "${compiler[@]}" -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x "$([[ $language == c ]] && echo c || echo c++)" "$header"
done

# Case 43: bad_input.c names every function there is, so that one that is added is not forgotten.
if [[ $language == c ]]; then
    for function in $(nm -D --defined-only "$libraries/libleadership.so" | awk '$3 ~ /^leadership_/ { print $3 }'); do
        if [[ $function != leadership_version ]] && ! grep -q "\b$function(" tests/abi/bad_input.c; then
            echo "FAIL bad_input.c names every function: $function is not there"
            failed=1
        fi
    done
    # Case 39: so does fork.c of those that can say Forked, which are those that have a client behind them.
    of_a_client='^leadership_error \*\(leadership_[a-z_]*\)(const leadership_\(client\|handle\|term\|lease\|txn\|cancel\|elector\|observer\|election\|shared_lease\|operator\) \*.*'
    for function in $(sed -n "s/$of_a_client/\1/p" include/leadership.h); do
        if ! grep -q "says_forked($function(" tests/abi/fork.c; then
            echo "FAIL fork.c calls every function that has a client behind it: $function is not there"
            failed=1
        fi
    done
fi

start_etcd 3.7 || { echo "FAIL no etcd 3.7 is there: make etcd"; exit 1; }
newest=$endpoint
start_etcd 3.4 || { echo "FAIL no etcd 3.4 is there: .ci/setup test"; exit 1; }
oldest=$endpoint

# Any error of memory and any definite leak fails a run.
valgrind=(env LEADERSHIP_ABI_SLOW=1 valgrind --quiet --error-exitcode=99 --fair-sched=yes)
leaks=(--leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite)

for source in "${sources[@]}"; do
    name=$(basename "$source" | sed 's/\.[a-z]*$//')
    program=$out/$language-$name
    link=(-L"$libraries" -lleadership -lleadership_testkit)
    [[ $name == unload ]] && link=(-ldl) # it loads them itself
    "${compiler[@]}" "${flags[@]}" "$source" -o "$program" "${link[@]}"
    # Not fork.c: a child of a thread beside others may wait for ever for a lock of ASan's own allocator (gcc 12).
    asan=yes
    [[ $name == fork ]] && asan=no
    [[ $asan == no ]] ||
        "${compiler[@]}" "${flags[@]}" -fsanitize=address -fno-omit-frame-pointer "$source" -o "$program-asan" "${link[@]}"
    checker=("${valgrind[@]}" "${leaks[@]}")
    export ASAN_OPTIONS=detect_leaks=1
    # What a parent's threads held cannot be let go of in its child: looked at for errors, not for leaks.
    [[ $name == fork ]] && checker=("${valgrind[@]}")
    run "$language $name, test server" "$program"
    [[ $name == signals ]] && continue # masks of threads: nothing for a checker of memory, and servers of its own
    run "$language $name, test server, valgrind" "${checker[@]}" "$program"
    [[ $asan == no ]] || run "$language $name, test server, ASan" "$program-asan"
    # surface needs a fresh store for each case: the test server's
    [[ $name == surface ]] && continue
    export LEADERSHIP_ABI_ETCD_PID=${etcd_pids[0]} # jeopardy stops it, and lets it go on
    run "$language $name, etcd 3.7" "$program" "$newest"
    LEADERSHIP_ABI_ETCD_PID=${etcd_pids[1]}
    run "$language $name, etcd 3.4" "$program" "$oldest"
done

# The first program that a user reads, as its own comment builds it.
if [[ $language == c ]]; then
    "${compiler[@]}" "${flags[@]}" examples/first.c "$libraries/libleadership.a" -ldl -lm -o "$out/c-first"
    if output=$(timeout 60 "$out/c-first" "$newest" 2>&1) && grep -q '^step 3, token' <<<"$output"; then
        echo "ok   c first, etcd 3.7, static library"
    else
        printf 'FAIL examples/first.c\n%s\n' "$output"
        failed=1
    fi
fi

# The everyday one: two of it, one after the other, each told to end.
elector_example() {
    local first second say=$out/elector-first say_second=$out/elector-second
    "$out/c-elector-example" "$newest" >"$say" 2>&1 & first=$! example_pids+=($!)
    until_said "$say" '^working, token' || return 1
    "$out/c-elector-example" "$newest" >"$say_second" 2>&1 & second=$! example_pids+=($!)
    kill -TERM "$first"
    wait "$first" && grep -q '^stepping down: closed$' "$say" || return 1
    until_said "$say_second" '^working, token' || return 1
    kill -INT "$second"
    wait "$second" && grep -q '^stepping down: closed$' "$say_second"
}
# until_said FILE PATTERN: within 15 s
until_said() {
    local i
    for ((i = 0; i < 150; i++)); do
        ! grep -q "$2" "$1" || return 0
        sleep 0.1
    done
    return 1
}
if [[ $language == c ]]; then
    "${compiler[@]}" "${flags[@]}" examples/elector.c "$libraries/libleadership.a" -ldl -lm -o "$out/c-elector-example"
    if elector_example; then
        echo "ok   c elector example, etcd 3.7, static library"
    else
        printf 'FAIL examples/elector.c\n%s\n%s\n' "$(cat "$out/elector-first")" "$(cat "$out/elector-second")"
        failed=1
    fi
fi

exit "$failed"
