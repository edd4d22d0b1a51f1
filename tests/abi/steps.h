/* Steps that the programs of this folder share: connect, contend, win, write.
 * Owns their plain form; what must come of them is the programs' business. */
#ifndef LEADERSHIP_TESTS_STEPS_H
#define LEADERSHIP_TESTS_STEPS_H

#include "tap.h"

#ifndef TTL_MS
#define TTL_MS UINT64_C(5000)
#endif

/* A winner's proof must be no older than its delay: a checker of memory on a busy machine takes its time for one. */
static inline uint64_t takeover_delay_ms(void) { return getenv("LEADERSHIP_ABI_SLOW") ? 1000 : 200; }

static inline leadership_client *connect_to(const char *endpoint) {
    leadership_client *client = NULL;
    must(leadership_client_connect(endpoint, NULL, &client));
    must(leadership_client_ready(client, PATIENCE_MS, NULL));
    return client;
}

static inline leadership_handle *contender(leadership_client *client, const char *key) {
    leadership_handle *handle = NULL;
    must(leadership_new(client, bytes_of(key), strlen(key), NULL, &handle));
    return handle;
}

/* A campaign with this value; the error is the caller's. */
static inline leadership_error *campaign(leadership_handle *handle, const char *value, uint64_t timeout_ms,
                                  leadership_cancel *cancel, leadership_term **term) {
    leadership_campaign_options *options = NULL;
    must(leadership_campaign_options_new(&options));
    must(leadership_campaign_options_set_value(options, bytes_of(value), strlen(value)));
    must(leadership_campaign_options_set_ttl(options, TTL_MS));
    leadership_error *error = leadership_campaign(handle, options, timeout_ms, cancel, term);
    leadership_campaign_options_free(options);
    return error;
}

static inline leadership_term *win(leadership_handle *handle, const char *value) {
    leadership_term *term = NULL;
    /* Again if it came to nothing: a checker of memory on a busy machine may not keep up with the takeover delay. */
    uint64_t until = tap_now_ms() + PATIENCE_MS;
    leadership_error *error;
    while ((error = campaign(handle, value, PATIENCE_MS, NULL, &term)) && leadership_error_is_retriable(error) &&
           tap_now_ms() < until) {
        leadership_error_free(error);
    }
    must(error);
    must(leadership_keep(handle));
    return term;
}

/* A guarded put; the error is the caller's. */
static inline leadership_error *guarded_put(const leadership_term *term, const char *key, const char *value, bool *succeeded) {
    leadership_txn *txn = NULL;
    leadership_txn_reply *reply = NULL;
    leadership_error *error = leadership_txn_new(term, &txn);
    if (error) return error;
    must(leadership_txn_then_put(txn, bytes_of(key), strlen(key), bytes_of(value), strlen(value), 0));
    error = leadership_txn_commit(txn, PATIENCE_MS, NULL, &reply);
    if (!error) {
        *succeeded = leadership_txn_reply_succeeded(reply);
        leadership_txn_reply_free(reply);
    }
    leadership_txn_free(txn);
    return error;
}

#endif
