/* A service in C with one active instance: works while it leads, stops in time when it no longer does, and hands over at
 * once when it is told to end (SIGTERM, SIGINT). Start it several times.
 *
 * cargo build --release -p leadership-ffi
 * cc -std=c11 -D_POSIX_C_SOURCE=200809L -Iinclude examples/elector.c target/release/libleadership.a -lpthread -ldl -lm -o elector
 * ./elector 127.0.0.1:2379
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "leadership.h"

/* The work: a little of it at a time. A store that is not etcd gets the token along with every write, and refuses
 * whatever carries a smaller one than it has seen. */
static void step(int64_t fencing_token) {
    struct timespec pause = {0, 100000000};
    printf("working, token %" PRId64 "\n", fencing_token);
    fflush(stdout);
    nanosleep(&pause, NULL);
}

static sigset_t ends;

/* Closing tells the loop below that its term is lost, waits until it is freed, then lets the key go. */
static void *close_when_told(void *elector) {
    int signal = 0;
    sigwait(&ends, &signal);
    leadership_error_free(leadership_elector_close(elector, LEADERSHIP_FOREVER, NULL));
    return NULL;
}

int main(int argc, char **argv) {
    leadership_client *client = NULL;
    leadership_elector *elector = NULL;
    leadership_term *term = NULL;
    pthread_t closing;
    int rc = 0, waits = 0;

    /* In this thread and those it starts: the one below waits for them. */
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);

    leadership_error *err = leadership_client_connect(argc > 1 ? argv[1] : "127.0.0.1:2379", NULL, &client);
    if (!err) err = leadership_elector_start(client, "billing/leader", NULL, &elector);
    if (!err) waits = pthread_create(&closing, NULL, close_when_told, elector) == 0;
    while (!err && !(err = leadership_elector_next_term(elector, LEADERSHIP_FOREVER, NULL, &term)) && term) {
        while (!leadership_term_lost(term)) step(leadership_term_token(term));
        printf("stepping down: %s\n", leadership_reason_name(leadership_term_lost_reason(term)));
        leadership_term_free(term); /* resigns if still held; never blocks */
    }
    if (err) {
        fprintf(stderr, "%s\n", leadership_error_message(err));
        leadership_error_free(err);
        rc = 1;
    }
    if (waits) {
        pthread_kill(closing, SIGTERM); /* if it was an error that ended the loop */
        pthread_join(closing, NULL);
    }
    leadership_elector_free(elector);
    leadership_client_free(client);
    return rc;
}
