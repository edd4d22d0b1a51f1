/* The first program in C: wins an election, works while it leads, says why it stopped.
 *
 * cargo build --release -p leadership-ffi
 * cc -std=c11 -Iinclude examples/first.c target/release/libleadership.a -lpthread -ldl -lm -o first
 * ./first 127.0.0.1:2379
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "leadership.h"

static int fail(const char *step, leadership_error *error) {
    fprintf(stderr, "%s: %s\n", step, leadership_error_message(error));
    leadership_error_free(error);
    return 1;
}

int main(int argc, char **argv) {
    const char *key = "example/leader";
    leadership_client *client = NULL;
    leadership_handle *lead = NULL;
    leadership_term *term = NULL;
    leadership_txn *txn = NULL;
    int rc = 0;

    leadership_error *error = leadership_client_connect(argc > 1 ? argv[1] : "127.0.0.1:2379", NULL, &client);
    if (error) return fail("connect", error);
    error = leadership_new(client, (const uint8_t *)key, strlen(key), NULL, &lead);
    if (!error) error = leadership_campaign(lead, NULL, 10000, NULL, &term);
    if (!error) error = leadership_keep(lead);
    for (int step = 1; !error && step <= 3 && !leadership_term_lost(term); step++) {
        /* A write that etcd applies only while this very term holds the key. */
        leadership_txn_reply *reply = NULL;
        error = leadership_txn_new(term, &txn);
        if (!error) error = leadership_txn_then_put(txn, (const uint8_t *)"example/state", 13, (const uint8_t *)"x", 1, 0);
        if (!error) error = leadership_txn_commit(txn, 2000, NULL, &reply);
        if (!error) printf("step %d, token %lld\n", step, (long long)leadership_term_token(term));
        leadership_txn_reply_free(reply);
        leadership_txn_free(txn);
        txn = NULL;
    }
    if (error) rc = fail("leading", error);
    leadership_term_free(term);
    leadership_free(lead);                                     /* resigns */
    error = leadership_client_close(client, 5000, NULL);       /* waits until the key is gone */
    if (error) rc = fail("close", error);
    leadership_client_free(client);
    return rc;
}
