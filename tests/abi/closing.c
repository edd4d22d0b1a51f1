/* Closing (S14, case 35): from a callback, by two threads at once, with waits and callbacks under way. Never a deadlock,
 * the last callback before close returns, each drop once and after it.
 * Owns the ways to close; what a close releases in etcd the core's tests say.
 *
 * usage: closing [ENDPOINT]   An etcd to run on; without, a test server of its own. */
#include <pthread.h>
#include <stdatomic.h>

#include "steps.h"

/* What the callbacks of one case saw, in the order of one counter. */
struct ear {
    leadership_client *client;
    leadership_handle *handle;
    leadership_lease *lease;
    atomic_int elected, lost, calls, drops;
    atomic_int closed_code, closing_code, lease_code, reset_code, freed;
    atomic_int done, done_drops, after_drop;
    atomic_int last_event, last_drop, done_at;
};

static atomic_int clock_ticks;
/* Callbacks under way: never two. */
static atomic_int inside, overlapped;

static void enter(struct ear *ear) {
    if (inside++) overlapped = 1;
    if (ear->drops) ear->after_drop = 1;
    ear->calls++;
}

static void leave(struct ear *ear) {
    ear->last_event = ++clock_ticks;
    inside--;
}

static void on_drop(void *user_data) {
    struct ear *ear = user_data;
    if (inside) overlapped = 1;
    ear->last_drop = ++clock_ticks;
    ear->drops++;
}

static void on_done(void *user_data, leadership_error *error) {
    struct ear *ear = user_data;
    ear->closing_code = (int)leadership_error_code(error);
    leadership_error_free(error);
    ear->done_at = ++clock_ticks;
    ear->done++;
}

static void on_done_drop(void *user_data) { ((struct ear *)user_data)->done_drops++; }

static int code_and_free(leadership_error *error) {
    int code = (int)leadership_error_code(error);
    leadership_error_free(error);
    return code;
}

/* Tries everything that ends something, from within. */
static void closes_everything(void *user_data, const leadership_event *event) {
    struct ear *ear = user_data;
    enter(ear);
    if (leadership_event_kind(event) == LEADERSHIP_EVENT_ELECTED) {
        ear->elected++;
        ear->closed_code = code_and_free(leadership_client_close(ear->client, LEADERSHIP_FOREVER, NULL));
        ear->lease_code = code_and_free(leadership_lease_close(ear->lease, PATIENCE_MS, NULL));
        ear->reset_code = code_and_free(leadership_reset(ear->handle, PATIENCE_MS, NULL));
        leadership_lease_free(ear->lease);
        leadership_free(ear->handle);
        ear->freed = 1;
    } else if (leadership_event_kind(event) == LEADERSHIP_EVENT_LOST) {
        ear->lost++;
    }
    leave(ear);
}

static void s14_case_35_closing_from_a_callback(const char *endpoint) {
    struct ear ear = {.closed_code = -1, .lease_code = -1, .reset_code = -1};
    ear.client = connect_to(endpoint);
    ear.handle = contender(ear.client, "abi/closing/callback");
    must(leadership_lease_grant(ear.client, TTL_MS, "to be closed", PATIENCE_MS, NULL, &ear.lease));
    must(leadership_on_event(ear.handle, closes_everything, &ear, on_drop));
    leadership_term *term = NULL;
    leadership_error *error = campaign(ear.handle, "x", PATIENCE_MS, NULL, &term);
    check(!error || leadership_error_code(error) == LEADERSHIP_ERROR_CANCELLED, "the callback may be faster than the campaign");
    leadership_error_free(error);
    eventually(ear.freed, "a callback that closes everything comes to its end");
    check(ear.closed_code == LEADERSHIP_ERROR_INVALID_ARGUMENT, "closing the client from a callback is an error");
    check(ear.lease_code == 0, "closing a lease is none");
    check(ear.reset_code == 0, "nor is a reset");
    eventually(ear.drops == 1, "freeing the handle ends its registration, from within too");
    check(ear.elected == 1 && ear.lost == 1, "its loss was told");
    check(!leadership_term_valid(term), "and nothing leads any more");
    leadership_term_free(term);
    must(leadership_client_close(ear.client, PATIENCE_MS, NULL));
    check(ear.drops == 1 && !ear.after_drop && !overlapped, "one drop, and nothing after it");
    leadership_client_free(ear.client);
}

/* Begins to close from within: allowed, for it does not wait. */
static void begins_to_close(void *user_data, const leadership_event *event) {
    struct ear *ear = user_data;
    enter(ear);
    if (leadership_event_kind(event) == LEADERSHIP_EVENT_ELECTED) {
        ear->elected++;
        ear->closed_code = code_and_free(leadership_client_close_start(ear->client, NULL, on_done, ear, on_done_drop));
    } else if (leadership_event_kind(event) == LEADERSHIP_EVENT_LOST) {
        ear->lost++;
    }
    leave(ear);
}

static void case_35_closing_begun_in_a_callback(const char *endpoint) {
    struct ear ear = {.closed_code = -1, .closing_code = -1};
    ear.client = connect_to(endpoint);
    ear.handle = contender(ear.client, "abi/closing/begun");
    must(leadership_on_event(ear.handle, begins_to_close, &ear, on_drop));
    leadership_term *term = NULL;
    leadership_error_free(campaign(ear.handle, "x", PATIENCE_MS, NULL, &term));
    eventually(ear.done_drops == 1, "a close that a callback begins is done");
    check(ear.closed_code == 0 && ear.closing_code == 0, "without an error");
    check(ear.elected == 1 && ear.lost == 1 && ear.drops == 1, "the loss was told before, and the registration let go of");
    check(ear.last_event < ear.last_drop && ear.last_drop < ear.done_at, "in this order: the last event, its drop, done");
    leadership_term_free(term);
    must(leadership_client_close(ear.client, PATIENCE_MS, NULL));
    leadership_free(ear.handle);
    leadership_client_free(ear.client);
}

/* A client that a callback frees: its last handle may be the callback's. */
static void frees_the_client(void *user_data, leadership_error *error) {
    struct ear *ear = user_data;
    leadership_error_free(error);
    leadership_client_free(ear->client);
    ear->freed = 1;
}

static void case_35_a_client_freed_in_a_callback(const char *endpoint) {
    struct ear ear = {0};
    ear.client = connect_to(endpoint);
    must(leadership_client_ready_start(ear.client, NULL, frees_the_client, &ear, on_drop));
    eventually(ear.drops == 1, "a callback that frees its client comes to its end");
    check(ear.freed == 1, "and it was called");
}

static void counts(void *user_data, const leadership_event *event) {
    struct ear *ear = user_data;
    enter(ear);
    tap_pause(); /* slow enough to be caught inside */
    if (leadership_event_kind(event) == LEADERSHIP_EVENT_ELECTED) ear->elected++;
    if (leadership_event_kind(event) == LEADERSHIP_EVENT_LOST) ear->lost++;
    leave(ear);
}

struct closer {
    leadership_client *client;
    struct ear *ears;
    int count, code, late, drops;
};

static void *close_it(void *argument) {
    struct closer *closer = argument;
    closer->code = code_and_free(leadership_client_close(closer->client, PATIENCE_MS, NULL));
    closer->late = inside;
    for (int i = 0; i < closer->count; i++) closer->drops += closer->ears[i].drops;
    return NULL;
}

struct waiter {
    leadership_handle *handle;
    atomic_int begun;
    int code;
    uint32_t kind;
};

static void *wait_for_the_leader(void *argument) {
    struct waiter *waiter = argument;
    int64_t revision = 0;
    waiter->begun = 1;
    waiter->code = code_and_free(leadership_watch(waiter->handle, 0, LEADERSHIP_FOREVER, NULL, &waiter->kind, &revision));
    return NULL;
}

static void case_35_two_threads_close_one_client(const char *endpoint) {
    enum { TERMS = 8, CLOSERS = 2 };
    struct ear done = {.closing_code = -1}, ears[TERMS] = {{0}};
    leadership_handle *handles[TERMS];
    leadership_term *terms[TERMS];
    pthread_t threads[CLOSERS], waiting;
    struct closer closers[CLOSERS];
    leadership_client *client = connect_to(endpoint);
    for (int i = 0; i < TERMS; i++) {
        char key[64];
        snprintf(key, sizeof key, "abi/closing/threads/%d", i);
        handles[i] = contender(client, key);
        must(leadership_on_event(handles[i], counts, &ears[i], on_drop));
        terms[i] = win(handles[i], "x");
        eventually(ears[i].elected == 1, "each is told of");
    }
    struct waiter waiter = {.handle = handles[0]};
    if (pthread_create(&waiting, NULL, wait_for_the_leader, &waiter) != 0) exit(1);
    eventually(waiter.begun, "somebody waits");
    must(leadership_client_close_start(client, NULL, on_done, &done, on_done_drop)); /* a third one, that does not wait */
    for (int i = 0; i < CLOSERS; i++) {
        closers[i] = (struct closer){.client = client, .ears = ears, .count = TERMS, .code = -1};
        if (pthread_create(&threads[i], NULL, close_it, &closers[i]) != 0) exit(1);
    }
    for (int i = 0; i < CLOSERS; i++) pthread_join(threads[i], NULL);
    pthread_join(waiting, NULL);
    for (int i = 0; i < CLOSERS; i++) {
        check(closers[i].code == 0, "each that closes succeeds");
        check(!closers[i].late && closers[i].drops == TERMS, "and returns after the last callback and its drop");
    }
    check(done.done == 1 && done.done_drops == 1 && done.closing_code == 0, "after the one that does not wait, too");
    check(!overlapped, "one callback at a time");
    check(waiter.kind == LEADERSHIP_WATCH_CLOSED || waiter.code == LEADERSHIP_ERROR_CLOSED, "who waited is told");
    for (int i = 0; i < TERMS; i++) {
        check(ears[i].lost == 1 && ears[i].elected == 1 && !ears[i].after_drop && ears[i].drops == 1,
              "exactly one loss for the election, one drop, nothing after it");
        check(ears[i].last_event < done.done_at && ears[i].last_drop < done.done_at, "all before done");
        check(!leadership_term_valid(terms[i]) && leadership_term_lost_reason(terms[i]) == LEADERSHIP_REASON_CLOSED, "closed");
        leadership_term_free(terms[i]);
        leadership_free(handles[i]);
    }
    leadership_client_free(client);
}

int main(int argc, char **argv) {
    leadership_testkit_server *server = NULL;
    const char *endpoint = endpoint_or_server(argc, argv, &server);
    s14_case_35_closing_from_a_callback(endpoint);
    case_35_closing_begun_in_a_callback(endpoint);
    case_35_a_client_freed_in_a_callback(endpoint);
    case_35_two_threads_close_one_client(endpoint);
    leadership_testkit_server_free(server);
    return tap_end();
}
