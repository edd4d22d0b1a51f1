/* What a check of a term costs a C program: leadership_term_valid and _lost through the shared library, each beside a
 * bare clock_gettime(CLOCK_BOOTTIME), in interleaved pairs.
 * Owns the loops; bench/src/abi.rs compiles and runs it, and makes medians of the pairs.
 *
 * usage: valid ENDPOINT ROUNDS CALLS     One line a pair: CALL OURS_NS BARE_NS. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "leadership.h"

/* Long enough that no renewal falls into the measurement. */
#define TTL_MS UINT64_C(3600000)

/* Keeps each answer in use. */
static volatile unsigned long answers;

static double now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* The least that a use of the clock is: the call, and a look at what it wrote. */
static double bare(long calls) {
    unsigned long sum = 0;
    double began = now_ns();
    for (long i = 0; i < calls; i++) {
        struct timespec now;
        sum += clock_gettime(CLOCK_BOOTTIME, &now) == 0 && now.tv_nsec >= 0;
    }
    double took = now_ns() - began;
    answers += sum;
    return took / (double)calls;
}

static double valid(const leadership_term *term, long calls) {
    unsigned long sum = 0;
    double began = now_ns();
    for (long i = 0; i < calls; i++) sum += leadership_term_valid(term);
    double took = now_ns() - began;
    answers += sum;
    return took / (double)calls;
}

static double lost(const leadership_term *term, long calls) {
    unsigned long sum = 0;
    double began = now_ns();
    for (long i = 0; i < calls; i++) sum += leadership_term_lost(term);
    double took = now_ns() - began;
    answers += sum;
    return took / (double)calls;
}

static void pairs(const char *name, double (*ours)(const leadership_term *, long), const leadership_term *term, int rounds,
                  long calls) {
    ours(term, calls);
    bare(calls);
    for (int round = 0; round < rounds; round++) {
        double mine, clock;
        /* Which half comes first alternates, so that a drift of the machine's speed favours neither. */
        if (round % 2 == 0) {
            clock = bare(calls);
            mine = ours(term, calls);
        } else {
            mine = ours(term, calls);
            clock = bare(calls);
        }
        printf("%s %.3f %.3f\n", name, mine, clock);
    }
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int rounds = atoi(argv[2]);
    long calls = atol(argv[3]);
    leadership_client *client = NULL;
    leadership_handle *lead = NULL;
    leadership_campaign_options *options = NULL;
    leadership_term *term = NULL;
    const char *key = "bench/abi";
    leadership_error *error = leadership_client_connect(argv[1], NULL, &client);
    if (!error) error = leadership_new(client, (const uint8_t *)key, strlen(key), NULL, &lead);
    if (!error) error = leadership_campaign_options_new(&options);
    if (!error) error = leadership_campaign_options_set_ttl(options, TTL_MS);
    if (!error) error = leadership_campaign(lead, options, 10000, NULL, &term);
    if (!error) {
        pairs("leadership_term_valid", valid, term, rounds, calls);
        pairs("leadership_term_lost", lost, term, rounds, calls);
        /* An ended term is cheaper to check: such figures would be worth nothing. */
        if (!leadership_term_valid(term) || leadership_term_lost(term)) return 3;
        error = leadership_client_close(client, 10000, NULL);
    }
    if (error) {
        fprintf(stderr, "%s\n", leadership_error_message(error));
        return 1;
    }
    leadership_term_free(term);
    leadership_campaign_options_free(options);
    leadership_free(lead);
    leadership_client_free(client);
    return 0;
}
