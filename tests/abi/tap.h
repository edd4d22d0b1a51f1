/* How the programs of this folder count and tell: a line for each check, the sum at the end.
 * Owns counting, failing on errors of either library, and waiting with a deadline; C11 and C++17 alike. */
#ifndef LEADERSHIP_TESTS_TAP_H
#define LEADERSHIP_TESTS_TAP_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "leadership.h"
#include "leadership_testkit.h"

/* How long anything that should come may take; valgrind runs at a twentieth of the speed. */
#define PATIENCE_MS 15000

static int tap_passed, tap_failed;

/* One check; C programs check from the main thread only. */
static inline int tap_check(int holds, const char *what, const char *file, int line) {
    if (holds) {
        tap_passed++;
        printf("ok %d - %s\n", tap_passed + tap_failed, what);
    } else {
        tap_failed++;
        printf("not ok %d - %s\n# FAILED at %s:%d\n", tap_passed + tap_failed, what, file, line);
    }
    fflush(stdout);
    return holds;
}

#define check(condition, what) tap_check(!!(condition), what, __FILE__, __LINE__)

/* A call that must succeed. Without it nothing after it means anything: the program ends. */
static inline void tap_must(leadership_error *error, const char *what, const char *file, int line) {
    if (error) {
        printf("not ok - %s: %s\n# at %s:%d\nBail out!\n", what, leadership_error_message(error), file, line);
        printf("%d passed, %d failed\n", tap_passed, tap_failed + 1);
        fflush(stdout);
        exit(1);
    }
}

#define must(call) tap_must((call), #call, __FILE__, __LINE__)

/* A call of the test server's that must succeed. */
static inline void tap_must_kit(leadership_testkit_error *error, const char *what, const char *file, int line) {
    if (error) {
        printf("not ok - %s: %s\n# at %s:%d\nBail out!\n", what, leadership_testkit_error_message(error), file, line);
        printf("%d passed, %d failed\n", tap_passed, tap_failed + 1);
        fflush(stdout);
        exit(1);
    }
}

#define must_kit(call) tap_must_kit((call), #call, __FILE__, __LINE__)

/* A call that must fail with this code; frees the error. `names` is text that its message must hold, or NULL. */
static inline int tap_fails(leadership_error *error, uint32_t code, const char *names, const char *what,
                            const char *file, int line) {
    uint32_t got = leadership_error_code(error);
    const char *message = error ? leadership_error_message(error) : "success";
    int as_told = got == code && (!names || strstr(message, names));
    if (!as_told) {
        printf("# %s: code %u (%s), expected %u%s%s\n", what, got, message, code, names ? " naming " : "",
               names ? names : "");
    }
    leadership_error_free(error);
    return tap_check(as_told, what, file, line);
}

#define fails(call, code) tap_fails((call), (code), NULL, #call, __FILE__, __LINE__)
#define fails_naming(call, code, names) tap_fails((call), (code), (names), #call, __FILE__, __LINE__)

static inline uint64_t tap_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static inline void tap_pause(void) {
    struct timespec pause = {0, 2000000};
    nanosleep(&pause, NULL);
}

/* Waits until the condition holds, at most PATIENCE_MS; then checks it. */
#define eventually(condition, what)                                                                                    \
    do {                                                                                                               \
        uint64_t until_ = tap_now_ms() + PATIENCE_MS;                                                                  \
        while (!(condition) && tap_now_ms() < until_) tap_pause();                                                     \
        check((condition), what);                                                                                      \
    } while (0)

static inline int tap_end(void) {
    printf("%d passed, %d failed\n", tap_passed, tap_failed);
    return tap_failed ? 1 : 0;
}

static inline const uint8_t *bytes_of(const char *text) { return (const uint8_t *)text; }

/* The first argument, or a test server of this program's own. */
static inline const char *endpoint_or_server(int argc, char **argv, leadership_testkit_server **server) {
    *server = NULL;
    if (argc > 1) return argv[1];
    must_kit(leadership_testkit_server_start(NULL, server));
    return leadership_testkit_server_endpoint(*server);
}

#endif
