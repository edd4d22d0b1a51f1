/* The slice through C: win, check, write guarded, lose, be told of it, take over, cancel, time out.
 * Owns the way as a user of C goes it; bad input is bad_input.c's, fork() fork.c's, the whole surface surface.c's.
 *
 * usage: slice [ENDPOINT]   An etcd to run on; without, a test server of its own, and its faults are used too. */
#include <pthread.h>
#include <stdatomic.h>

#include "steps.h"

static const char *const KEY = "abi/slice/leader";

/* What a callback was told of, in order; written on the library's thread. */
struct told {
    atomic_int elected, lost, reason, order_broken, drops;
};

static void on_event(void *user_data, const leadership_event *event) {
    struct told *told = user_data;
    switch (leadership_event_kind(event)) {
    case LEADERSHIP_EVENT_ELECTED:
        if (!leadership_event_term(event) || told->elected != told->lost) told->order_broken = 1;
        told->elected++;
        break;
    case LEADERSHIP_EVENT_LOST:
        told->reason = (int)leadership_event_reason(event);
        told->lost++;
        if (told->lost != told->elected) told->order_broken = 1;
        break;
    default: /* jeopardy and secured, as the machine is slow or not */
        break;
    }
}

static void on_drop(void *user_data) {
    struct told *told = user_data;
    told->drops++;
}

/* Is this what the store holds, as a transaction guarded by `term` reads it? */
static bool holds(const leadership_term *term, const char *key, const char *value) {
    leadership_txn *txn = NULL;
    leadership_txn_reply *reply = NULL;
    must(leadership_txn_new(term, &txn));
    must(leadership_txn_then_get(txn, bytes_of(key), strlen(key)));
    must(leadership_txn_commit(txn, PATIENCE_MS, NULL, &reply));
    size_t len = 0;
    const uint8_t *found = leadership_key_value_value(leadership_txn_reply_kv(reply, 0, 0), &len);
    bool same = found && len == strlen(value) && memcmp(found, value, len) == 0;
    leadership_txn_reply_free(reply);
    leadership_txn_free(txn);
    return same;
}

/* Deletes the leader key behind its holder's back, as an operator would: by its revision, through `client`. */
static void delete_behind_the_back(leadership_client *client, const char *key) {
    leadership_leader *leader = NULL;
    leadership_handle *stranger = contender(client, key);
    must(leadership_client_get_leader(client, bytes_of(key), strlen(key), PATIENCE_MS, NULL, &leader));
    must(leadership_delete_leader_key_at(stranger, leadership_leader_mod_revision(leader), PATIENCE_MS, NULL));
    leadership_leader_free(leader);
    leadership_free(stranger);
}

struct watching {
    leadership_handle *handle;
    leadership_cancel *cancel;
    atomic_int begun;
    uint32_t code;
};

static void *watch_until_cancelled(void *argument) {
    struct watching *watching = argument;
    uint32_t kind = 0;
    int64_t revision = 0;
    watching->begun = 1;
    leadership_error *error =
        leadership_watch(watching->handle, 0, LEADERSHIP_FOREVER, watching->cancel, &kind, &revision);
    watching->code = leadership_error_code(error);
    leadership_error_free(error);
    return NULL;
}

static void a_blocked_watch_is_cancelled_by_another_thread(leadership_handle *handle) {
    struct watching watching = {.handle = handle};
    pthread_t thread;
    must(leadership_cancel_new(&watching.cancel));
    if (pthread_create(&thread, NULL, watch_until_cancelled, &watching) != 0) exit(1);
    eventually(watching.begun, "the watch has begun");
    must(leadership_cancel_trigger(watching.cancel));
    pthread_join(thread, NULL);
    check(watching.code == LEADERSHIP_ERROR_CANCELLED, "a watch that waits for ever ends with its cancel");
    uint32_t kind = 77;
    int64_t revision = 77;
    fails(leadership_watch(handle, 0, LEADERSHIP_FOREVER, watching.cancel, &kind, &revision), LEADERSHIP_ERROR_CANCELLED);
    fails(leadership_watch(handle, 0, 0, NULL, &kind, &revision), LEADERSHIP_ERROR_TIMEOUT);
    fails(leadership_watch(handle, 0, 20, NULL, &kind, &revision), LEADERSHIP_ERROR_TIMEOUT);
    check(kind == 77 && revision == 77, "outputs are written only on success");
    leadership_cancel_free(watching.cancel);
}

struct done {
    atomic_int calls, drops;
    uint32_t code;
    leadership_term *term;
};

static void on_campaign(void *user_data, leadership_error *error, leadership_term *term) {
    struct done *done = user_data;
    done->code = leadership_error_code(error);
    done->term = term;
    leadership_error_free(error);
    done->calls++;
}

static void on_done_drop(void *user_data) {
    struct done *done = user_data;
    done->drops++;
}

static void completions_are_called_once(leadership_client *client) {
    struct done first = {0}, second = {0};
    leadership_handle *one = contender(client, "abi/slice/async"), *two = contender(client, "abi/slice/async");
    must(leadership_campaign_start(one, NULL, NULL, on_campaign, &first, on_done_drop));
    eventually(first.drops == 1, "a completion's drop runs after it");
    check(first.calls == 1 && first.code == 0 && leadership_term_valid(first.term), "a campaign that does not block wins");
    must(leadership_campaign_start(two, NULL, NULL, on_campaign, &second, on_done_drop));
    eventually(second.drops == 1, "the drop of one that fails runs too");
    check(second.calls == 1 && second.code == LEADERSHIP_ERROR_NOT_ELECTED && !second.term, "the other is told so");
    leadership_term_free(first.term);
    leadership_free(one);
    leadership_free(two);
}

/* What only the test server can do. */
static void faults(leadership_testkit_server *server, leadership_client *client) {
    leadership_term *term = NULL;
    leadership_handle *handle = contender(client, "abi/slice/faults");

    leadership_testkit_held *held = NULL;
    must_kit(leadership_testkit_server_hold(server, LEADERSHIP_TESTKIT_METHOD_LEASE_GRANT, 1, &held));
    fails(campaign(handle, "held", 200, NULL, &term), LEADERSHIP_ERROR_TIMEOUT);
    check(!term && !leadership_check(handle), "a campaign that ran out of time leads nothing");
    must_kit(leadership_testkit_held_wait(held, PATIENCE_MS));
    leadership_testkit_held_release(held);
    leadership_testkit_held_free(held);

    /* What it had begun is being undone; the next one waits for that. */
    must(campaign(handle, "again", PATIENCE_MS, NULL, &term));
    must(leadership_keep(handle));
    check(leadership_check(handle), "the next one wins");
    /* All of them: the library's own reads are transactions, too. */
    must_kit(leadership_testkit_server_drop_replies(server, LEADERSHIP_TESTKIT_METHOD_TXN, UINT64_MAX,
                                                    LEADERSHIP_TESTKIT_LOST_ERROR));
    bool succeeded = false;
    fails(guarded_put(term, "abi/slice/unknown", "1", &succeeded), LEADERSHIP_ERROR_OUTCOME_UNKNOWN);
    must_kit(leadership_testkit_server_heal(server));
    leadership_testkit_kv *kv = NULL;
    must_kit(leadership_testkit_server_get(server, "abi/slice/unknown", &kv));
    check(kv && leadership_testkit_kv_lease(kv) == 0, "a write whose reply was lost says so, and was applied");
    leadership_testkit_kv_free(kv);
    must_kit(leadership_testkit_server_expire_key(server, "abi/slice/faults"));
    uint32_t reason = LEADERSHIP_REASON_NONE;
    must(leadership_term_wait_lost(term, PATIENCE_MS, NULL, &reason));
    check(reason == LEADERSHIP_REASON_KEY_DELETED && !leadership_check(handle), "a lease that is revoked ends the term");
    leadership_term_free(term);
    leadership_free(handle);
}

int main(int argc, char **argv) {
    leadership_testkit_server *server = NULL;
    const char *endpoint = endpoint_or_server(argc, argv, &server);
    printf("# leadership %s, %s\n", leadership_version(), server ? "the test server" : "etcd");
    leadership_client *one = connect_to(endpoint), *two = connect_to(endpoint);
    leadership_handle *a = contender(one, KEY), *b = contender(two, KEY);

    struct told told = {0};
    must(leadership_on_event(a, on_event, &told, on_drop));
    check(!leadership_check(a), "nobody leads before a campaign");
    leadership_term *term = win(a, "a");
    check(leadership_check(a) && leadership_term_valid(term) && !leadership_term_lost(term), "the winner leads");
    check(leadership_term_lost_reason(term) == LEADERSHIP_REASON_NONE, "and has lost nothing");
    check(leadership_term_remaining_ns(term) > 0 && leadership_term_remaining_ns(term) < TTL_MS * 1000000u,
          "what remains is below the TTL");
    int64_t token = leadership_term_token(term);
    check(token > 0 && leadership_term_lease_id(term) != 0, "it has a token and a lease");
    eventually(told.elected == 1, "the callback was told of the election");

    leadership_term *none = NULL;
    fails_naming(campaign(b, "b", PATIENCE_MS, NULL, &none), LEADERSHIP_ERROR_NOT_ELECTED, "\"a\"");
    check(!none && !leadership_check(b), "the other does not lead");

    bool succeeded = false;
    must(guarded_put(term, "abi/slice/state", "1", &succeeded));
    check(succeeded && holds(term, "abi/slice/state", "1"), "a guarded write is applied");
    fails_naming(guarded_put(term, KEY, "mine", &succeeded), LEADERSHIP_ERROR_INVALID_ARGUMENT, "then");

    a_blocked_watch_is_cancelled_by_another_thread(b);
    completions_are_called_once(two);

    delete_behind_the_back(two, KEY);
    uint32_t reason = LEADERSHIP_REASON_NONE;
    must(leadership_term_wait_lost(term, PATIENCE_MS, NULL, &reason));
    check(reason == LEADERSHIP_REASON_KEY_DELETED, "a deleted key ends the term, and the reason says so");
    check(!leadership_check(a) && !leadership_term_valid(term) && leadership_term_lost(term), "it leads no more");
    eventually(told.lost == 1, "the callback was told of the loss");
    check(told.reason == LEADERSHIP_REASON_KEY_DELETED, "with its reason");

    leadership_term *next = win(b, "b");
    check(leadership_term_valid(next) && leadership_term_token(next) > token, "the next one leads, with a larger token");
    leadership_error *error = guarded_put(term, "abi/slice/state", "2", &succeeded);
    check(leadership_error_reason(error) == LEADERSHIP_REASON_KEY_DELETED, "a deposed leader's write says why it ended");
    fails(error, LEADERSHIP_ERROR_NOT_LEADER);
    check(holds(next, "abi/slice/state", "1"), "and was not applied");
    check(!told.order_broken && told.elected == 1 && told.lost == 1, "exactly one loss for one election, in order");

    if (server) faults(server, one);

    must(leadership_client_close(one, PATIENCE_MS, NULL));
    check(told.drops == 1, "close returns after the last callback and its drop");
    must(leadership_client_close(one, PATIENCE_MS, NULL));
    fails(leadership_keep(a), LEADERSHIP_ERROR_CLOSED);
    fails(campaign(a, "a", PATIENCE_MS, NULL, &none), LEADERSHIP_ERROR_CLOSED);
    must(leadership_reset(b, PATIENCE_MS, NULL));
    check(!leadership_term_valid(next) && leadership_term_lost_reason(next) == LEADERSHIP_REASON_RESIGNED, "a reset resigns");

    leadership_term_free(term);
    leadership_term_free(next);
    /* In any order: a client may go before what was made with it. */
    leadership_client_free(one);
    leadership_free(a);
    leadership_free(b);
    must(leadership_client_close(two, PATIENCE_MS, NULL));
    leadership_client_free(two);
    leadership_testkit_server_free(server);
    return tap_end();
}
