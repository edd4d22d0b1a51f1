/* The forms that never block: each answers once, on the library's thread, with what its blocking form would have said;
 * and what an error carries beside its message.
 * Owns those two; waiting and cancelling the blocking forms is slice.c's, closing closing.c's.
 *
 * usage: completions [ENDPOINT]   An etcd to run on; without, a test server of its own. */
#include <pthread.h>
#include <stdatomic.h>

#include "steps.h"

static const char *const KEY = "abi/completions/leader";

/* What a completion brought. */
struct answer {
    atomic_int calls, drops, order_broken;
    pthread_t thread;
    leadership_error *error;
    leadership_leader *leader;
    leadership_lease *lease;
    leadership_term *term;
    leadership_txn_reply *reply;
    uint32_t kind;
    int64_t revision;
};

static void told(struct answer *answer, leadership_error *error) {
    answer->error = error;
    answer->thread = pthread_self();
    if (answer->drops) answer->order_broken = 1;
    answer->calls++;
}

static void on_done(void *user_data, leadership_error *error) { told(user_data, error); }

static void on_leader(void *user_data, leadership_error *error, leadership_leader *leader) {
    ((struct answer *)user_data)->leader = leader;
    told(user_data, error);
}

static void on_lease(void *user_data, leadership_error *error, leadership_lease *lease) {
    ((struct answer *)user_data)->lease = lease;
    told(user_data, error);
}

static void on_term(void *user_data, leadership_error *error, leadership_term *term) {
    ((struct answer *)user_data)->term = term;
    told(user_data, error);
}

static void on_reply(void *user_data, leadership_error *error, leadership_txn_reply *reply) {
    ((struct answer *)user_data)->reply = reply;
    told(user_data, error);
}

static void on_watch(void *user_data, leadership_error *error, uint32_t kind, int64_t revision) {
    ((struct answer *)user_data)->kind = kind;
    ((struct answer *)user_data)->revision = revision;
    told(user_data, error);
}

static void on_lost(void *user_data, leadership_error *error, uint32_t reason) {
    ((struct answer *)user_data)->kind = reason;
    told(user_data, error);
}

static void on_drop(void *user_data) {
    struct answer *answer = user_data;
    if (!answer->calls) answer->order_broken = 1;
    answer->drops++;
}

/* Waits for the one answer and its drop, and says its code; the error is freed. */
static uint32_t code_of(struct answer *answer, const char *what) {
    eventually(answer->drops == 1, what);
    if (answer->calls != 1 || answer->order_broken || pthread_equal(answer->thread, pthread_self())) {
        check(0, "one call on the library's thread, then one drop");
    }
    uint32_t code = leadership_error_code(answer->error);
    if (code) printf("# %s: %s\n", what, leadership_error_message(answer->error));
    leadership_error_free(answer->error);
    answer->error = NULL;
    return code;
}

static void a_term_by_completions_alone(leadership_client *client, leadership_handle *handle) {
    struct answer ready = {0}, nobody = {0}, won = {0}, found = {0}, wrote = {0}, gone = {0}, lost = {0}, reset = {0};
    must(leadership_client_ready_start(client, NULL, on_done, &ready, on_drop));
    check(code_of(&ready, "ready") == 0, "a member is there");
    must(leadership_client_get_leader_start(client, bytes_of(KEY), strlen(KEY), NULL, on_leader, &nobody, on_drop));
    check(code_of(&nobody, "nobody") == 0 && !nobody.leader, "nobody leads: success without a leader");

    leadership_campaign_options *options = NULL;
    must(leadership_campaign_options_new(&options));
    must(leadership_campaign_options_set_value(options, bytes_of("me"), 2));
    must(leadership_campaign_start(handle, options, NULL, on_term, &won, on_drop));
    leadership_campaign_options_free(options); /* copied */
    check(code_of(&won, "campaign") == 0 && leadership_term_valid(won.term), "a campaign brings a valid term");
    must(leadership_keep(handle));

    must(leadership_client_get_leader_start(client, bytes_of(KEY), strlen(KEY), NULL, on_leader, &found, on_drop));
    check(code_of(&found, "get_leader") == 0 && leadership_leader_token(found.leader) == leadership_term_token(won.term),
          "who leads, with the token");

    leadership_txn *txn = NULL;
    must(leadership_leader_txn(handle, &txn));
    must(leadership_txn_then_put(txn, bytes_of("abi/completions/state"), 21, bytes_of("1"), 1, 0));
    must(leadership_txn_commit_start(txn, NULL, on_reply, &wrote, on_drop));
    leadership_txn_free(txn); /* the commit goes on */
    check(code_of(&wrote, "commit") == 0 && leadership_txn_reply_succeeded(wrote.reply), "a guarded write from the handle");

    must(leadership_watch_start(handle, 0, NULL, on_watch, &gone, on_drop));
    must(leadership_term_wait_lost_start(won.term, NULL, on_lost, &lost, on_drop));
    must(leadership_reset_start(handle, NULL, on_done, &reset, on_drop));
    check(!leadership_check(handle), "not leader when reset_start returns");
    check(code_of(&reset, "reset") == 0, "and the key goes");
    check(code_of(&lost, "lost") == 0 && lost.kind == LEADERSHIP_REASON_RESIGNED, "the loss is told");
    check(code_of(&gone, "watch") == 0 && gone.kind == LEADERSHIP_WATCH_CANCELLED, "a reset ends the handle's watch");
    txn = NULL;
    fails(leadership_leader_txn(handle, &txn), LEADERSHIP_ERROR_NOT_LEADER);
    check(!txn, "no transaction without a term");
    leadership_leader_free(found.leader);
    leadership_txn_reply_free(wrote.reply);
    leadership_term_free(won.term);
}

static void leases_are_granted_and_closed(leadership_client *client, leadership_handle *handle) {
    struct answer granted = {0}, refused = {0}, closed = {0}, again = {0};
    must(leadership_lease_grant_start(client, TTL_MS, "mine", NULL, on_lease, &granted, on_drop));
    check(code_of(&granted, "grant") == 0 && leadership_lease_id(granted.lease) != 0, "a lease is granted");
    check(leadership_lease_ttl_ms(granted.lease) >= TTL_MS && !strcmp(leadership_lease_purpose(granted.lease), "mine"),
          "as it was asked for");
    must(leadership_lease_grant_start(client, 0, "none", NULL, on_lease, &refused, on_drop));
    check(code_of(&refused, "grant of nothing") == LEADERSHIP_ERROR_INVALID_ARGUMENT && !refused.lease, "a TTL of 0 is not");
    must(leadership_set_lease(handle, granted.lease));
    leadership_term *term = win(handle, "on a lease of mine");
    must(leadership_lease_close_start(granted.lease, NULL, on_done, &closed, on_drop));
    check(leadership_lease_is_expired(granted.lease), "expired when lease_close_start returns");
    check(code_of(&closed, "close of a lease") == 0, "and gone");
    uint32_t reason = LEADERSHIP_REASON_NONE;
    must(leadership_term_wait_lost(term, PATIENCE_MS, NULL, &reason));
    check(!leadership_term_valid(term), "with the term that hung on it");
    must(leadership_lease_close_start(granted.lease, NULL, on_done, &again, on_drop));
    check(code_of(&again, "close again") == 0, "closing again is success");
    must(leadership_set_lease(handle, NULL));
    leadership_term_free(term);
    leadership_lease_free(granted.lease);
}

static void keys_are_deleted(leadership_client *client, leadership_handle *handle) {
    struct answer never = {0}, own = {0}, stale = {0}, at = {0}, absent = {0}, bad = {0};
    leadership_handle *other = contender(client, KEY);
    must(leadership_delete_leader_key_start(other, NULL, on_done, &never, on_drop));
    check(code_of(&never, "delete without a term") == LEADERSHIP_ERROR_NOT_LEADER, "who never led deletes nothing");
    leadership_term *term = win(handle, "first");
    must(leadership_delete_leader_key_start(handle, NULL, on_done, &own, on_drop));
    check(!leadership_check(handle), "not leader when delete_leader_key_start returns");
    check(code_of(&own, "delete of the own key") == 0, "and the key goes");
    leadership_term_free(term);

    term = win(handle, "second");
    leadership_leader *leader = NULL;
    must(leadership_client_get_leader(client, bytes_of(KEY), strlen(KEY), PATIENCE_MS, NULL, &leader));
    int64_t revision = leadership_leader_mod_revision(leader);
    must(leadership_delete_leader_key_at_start(other, revision - 1, NULL, on_done, &stale, on_drop));
    check(code_of(&stale, "delete at an old revision") == LEADERSHIP_ERROR_NOT_ELECTED, "not what was written since");
    must(leadership_delete_leader_key_at_start(other, revision, NULL, on_done, &at, on_drop));
    check(code_of(&at, "delete at a revision") == 0, "a key is deleted at its revision");
    uint32_t reason = LEADERSHIP_REASON_NONE;
    must(leadership_term_wait_lost(term, PATIENCE_MS, NULL, &reason));
    check(reason == LEADERSHIP_REASON_KEY_DELETED, "and its holder is told");
    must(leadership_delete_leader_key_at_start(other, revision, NULL, on_done, &absent, on_drop));
    check(code_of(&absent, "delete of an absent key") == 0, "absent is success");
    must(leadership_delete_leader_key_at_start(other, 0, NULL, on_done, &bad, on_drop));
    check(code_of(&bad, "delete at 0") == LEADERSHIP_ERROR_INVALID_ARGUMENT, "what is wrong with the revision goes to done");
    leadership_leader_free(leader);
    leadership_term_free(term);
    leadership_free(other);
}

static void a_cancel_ends_each(leadership_client *client, leadership_handle *handle) {
    leadership_cancel *cancel = NULL;
    struct answer watch = {0}, read = {0}, grant = {0};
    must(leadership_cancel_new(&cancel));
    leadership_term *term = win(handle, "watched");
    must(leadership_watch_start(handle, 0, cancel, on_watch, &watch, on_drop));
    must(leadership_cancel_trigger(cancel));
    check(code_of(&watch, "cancelled watch") == LEADERSHIP_ERROR_CANCELLED, "a watch that was started is cancelled");
    must(leadership_client_get_leader_start(client, bytes_of(KEY), strlen(KEY), cancel, on_leader, &read, on_drop));
    must(leadership_lease_grant_start(client, TTL_MS, "", cancel, on_lease, &grant, on_drop));
    leadership_cancel_free(cancel); /* they go on with it */
    check(code_of(&read, "cancelled read") == LEADERSHIP_ERROR_CANCELLED && !read.leader, "so is a read");
    check(code_of(&grant, "cancelled grant") == LEADERSHIP_ERROR_CANCELLED && !grant.lease, "and a grant");
    must(leadership_reset(handle, PATIENCE_MS, NULL));
    leadership_term_free(term);
}

static bool is(const char *text, const char *expected) { return text && !strcmp(text, expected); }

static void errors_carry_more_than_a_message(leadership_client *client, leadership_handle *handle) {
    leadership_term *none = NULL, *term = win(handle, "holder");
    leadership_handle *other = contender(client, KEY);
    leadership_error *error = campaign(other, "other", PATIENCE_MS, NULL, &none);
    const leadership_leader *holder = leadership_error_holder(error);
    size_t len = 0;
    const uint8_t *value = leadership_leader_value(holder, &len);
    check(leadership_error_code(error) == LEADERSHIP_ERROR_NOT_ELECTED && is(leadership_error_key(error), KEY),
          "NotElected names the key");
    check(value && len == 6 && !memcmp(value, "holder", 6) && leadership_leader_token(holder) == leadership_term_token(term),
          "and its holder, token included");
    check(leadership_leader_mod_revision(holder) > 0, "and the revision to watch from");
    check(!leadership_error_argument(error) && !leadership_error_read(error) && !leadership_error_member(error) &&
              leadership_error_reason(error) == LEADERSHIP_REASON_NONE,
          "and nothing else");
    leadership_error_free(error);

    must(leadership_reset(handle, PATIENCE_MS, NULL));
    bool succeeded = false;
    error = guarded_put(term, "abi/completions/late", "1", &succeeded);
    check(leadership_error_code(error) == LEADERSHIP_ERROR_NOT_LEADER && is(leadership_error_key(error), KEY) &&
              leadership_error_reason(error) == LEADERSHIP_REASON_RESIGNED && !leadership_error_holder(error),
          "NotLeader names the key and the reason");
    leadership_error_free(error);

    error = leadership_delete_leader_key_at(other, 0, PATIENCE_MS, NULL);
    check(is(leadership_error_argument(error), "revision") && !leadership_error_key(error),
          "InvalidArgument names the argument");
    leadership_error_free(error);

    leadership_compare *compare = NULL;
    leadership_campaign_options *options = NULL;
    must(leadership_compare_version(bytes_of("abi/completions/no"), 18, LEADERSHIP_COMPARE_EQUAL, 7, &compare));
    must(leadership_campaign_options_new(&options));
    must(leadership_campaign_options_add_compare(options, compare));
    error = leadership_campaign(other, options, PATIENCE_MS, NULL, &none);
    check(leadership_error_code(error) == LEADERSHIP_ERROR_COMPARE_FAILED && is(leadership_error_key(error), KEY),
          "CompareFailed names the key");
    leadership_error_free(error);
    leadership_campaign_options_free(options);
    leadership_compare_free(compare);
    leadership_term_free(term);
    leadership_free(other);
}

/* What only the test server can do. */
static void a_lost_reply_says_what_to_read(leadership_testkit_server *server, leadership_client *client) {
    leadership_handle *handle = contender(client, "abi/completions/faults");
    leadership_term *term = win(handle, "x");
    must_kit(leadership_testkit_server_drop_replies(server, LEADERSHIP_TESTKIT_METHOD_TXN, UINT64_MAX,
                                                    LEADERSHIP_TESTKIT_LOST_ERROR));
    bool succeeded = false;
    leadership_error *error = guarded_put(term, "abi/completions/unknown", "1", &succeeded);
    check(leadership_error_code(error) == LEADERSHIP_ERROR_OUTCOME_UNKNOWN && leadership_error_read(error) &&
              strstr(leadership_error_read(error), "abi/completions/faults"),
          "OutcomeUnknown says what to read");
    leadership_error_free(error);
    must_kit(leadership_testkit_server_heal(server));
    leadership_term_free(term);
    leadership_free(handle);
}

int main(int argc, char **argv) {
    leadership_testkit_server *server = NULL;
    const char *endpoint = endpoint_or_server(argc, argv, &server);
    leadership_client *client = connect_to(endpoint);
    leadership_handle *handle = contender(client, KEY);
    a_term_by_completions_alone(client, handle);
    leases_are_granted_and_closed(client, handle);
    keys_are_deleted(client, handle);
    a_cancel_ends_each(client, handle);
    errors_carry_more_than_a_message(client, handle);
    if (server) a_lost_reply_says_what_to_read(server, client);

    struct answer closed = {0}, late = {0};
    must(leadership_client_close_start(client, NULL, on_done, &closed, on_drop));
    check(code_of(&closed, "close") == 0, "a client is closed without blocking");
    fails(leadership_client_get_leader_start(client, bytes_of(KEY), strlen(KEY), NULL, on_leader, &late, on_drop),
          LEADERSHIP_ERROR_CLOSED);
    check(!late.calls && !late.drops, "what was refused calls nothing");
    leadership_free(handle);
    leadership_client_free(client);

    /* Where to connect may be the environment's to say; what is given goes first. */
    leadership_client_options *options = NULL;
    leadership_client *other = NULL;
    must(leadership_client_options_new(&options));
    setenv("LEADERSHIP_ENDPOINTS", endpoint, 1);
    fails_naming(leadership_client_connect(NULL, options, &other), LEADERSHIP_ERROR_INVALID_ARGUMENT, "endpoints");
    must(leadership_client_options_from_environment(options));
    must(leadership_client_connect(NULL, options, &other));
    must(leadership_client_ready(other, PATIENCE_MS, NULL));
    check(1, "a client by the environment alone");
    must(leadership_client_close(other, PATIENCE_MS, NULL));
    leadership_client_free(other);
    setenv("LEADERSHIP_TLS_CERT", "/no/such/file", 1);
    fails_naming(leadership_client_options_from_environment(options), LEADERSHIP_ERROR_INVALID_ARGUMENT, "tls_cert");
    leadership_client_options_free(options);
    leadership_testkit_server_free(server);
    return tap_end();
}
