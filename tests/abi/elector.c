/* The elector from C: the everyday loop, drains, closing while somebody waits, a term that outlives its elector, events
 * by a function and by a file descriptor, health checks, one shot. Cases 34, 35 and 37.
 * Owns what C adds to the core's loop; the loop itself the core's tests say, bad input bad_input.c.
 *
 * usage: elector [ENDPOINT]   An etcd to run on; without, a test server of its own. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "steps.h"

static const char *endpoint;

/* Others are let in for an instant only, and losses are no reason to hold back: the tests are about other things. */
static leadership_elector_options *options_of(const char *value) {
    leadership_elector_options *options = NULL;
    must(leadership_elector_options_new(&options));
    must(leadership_elector_options_set_value(options, bytes_of(value), strlen(value)));
    must(leadership_elector_options_set_ttl(options, TTL_MS));
    must(leadership_elector_options_set_purpose(options, "abi"));
    must(leadership_elector_options_set_takeover_delay(options, takeover_delay_ms()));
    must(leadership_elector_options_set_step_down_margin(options, 200));
    must(leadership_elector_options_set_drain_timeout(options, 2 * PATIENCE_MS));
    must(leadership_elector_options_set_cool_down(options, 30));
    must(leadership_elector_options_set_campaign_limit(options, 1000));
    return options;
}

static leadership_elector *elector_of(leadership_client *client, const char *key, const char *value) {
    leadership_elector *elector = NULL;
    leadership_elector_options *options = options_of(value);
    must(leadership_elector_start(client, key, options, &elector));
    leadership_elector_options_free(options);
    return elector;
}

static leadership_term *next(leadership_elector *elector) {
    leadership_term *term = NULL;
    must(leadership_elector_next_term(elector, PATIENCE_MS, NULL, &term));
    check(term != NULL, "a term comes");
    return term;
}

static bool is_text(const uint8_t *bytes, const size_t *len, const char *text) {
    return bytes && *len == strlen(text) && memcmp(bytes, text, *len) == 0;
}

/* Who holds the key, by a read; the empty text for nobody. */
static const char *holder(leadership_client *client, const char *key) {
    static char value[32];
    leadership_leader *leader = NULL;
    size_t len = 0;
    must(leadership_client_get_leader(client, bytes_of(key), strlen(key), PATIENCE_MS, NULL, &leader));
    const uint8_t *held = leadership_leader_value(leader, &len);
    memset(value, 0, sizeof value);
    if (held && len < sizeof value) memcpy(value, held, len);
    leadership_leader_free(leader);
    return value;
}

/* Takes the key away behind its holder's back. */
static void take_away(leadership_client *client, const char *key) {
    leadership_leader *leader = NULL;
    leadership_handle *stranger = contender(client, key);
    must(leadership_client_get_leader(client, bytes_of(key), strlen(key), PATIENCE_MS, NULL, &leader));
    must(leadership_delete_leader_key_at(stranger, leadership_leader_mod_revision(leader), PATIENCE_MS, NULL));
    leadership_leader_free(leader);
    leadership_free(stranger);
}

static void the_everyday_loop(leadership_client *client, leadership_client *other) {
    const char *key = "abi/elector/loop";
    size_t len = 0;
    leadership_elector *a = elector_of(client, key, "a"), *b = elector_of(other, key, "b");
    leadership_term *term = NULL, *view = NULL, *later = NULL;
    leadership_leader *leader = NULL;
    check(is_text(leadership_elector_key(a, &len), &len, key), "an elector knows its key");
    check(leadership_elector_state(a) == LEADERSHIP_STATE_FOLLOWER && !leadership_elector_is_leader(a), "and follows");
    must(leadership_elector_current(a, &view));
    check(!view && !*holder(client, key), "nothing campaigns before somebody wants a term");

    term = next(a);
    check(leadership_term_valid(term) && !leadership_term_lost(term) && leadership_term_token(term) > 0, "it leads");
    check(leadership_elector_is_leader(a) && leadership_elector_state(a) == LEADERSHIP_STATE_LEADING, "and says so");
    check(strcmp(leadership_state_name(LEADERSHIP_STATE_LEADING), "leading") == 0, "by name");
    must(leadership_elector_health(a));
    must(leadership_elector_current(a, &view));
    check(view && leadership_term_token(view) == leadership_term_token(term), "request handlers have a view of the term");
    fails_naming(leadership_term_resign(view, PATIENCE_MS, NULL), LEADERSHIP_ERROR_INVALID_ARGUMENT, "term");
    check(leadership_term_valid(term), "which does not resign");
    leadership_term_free(view);

    fails(leadership_elector_next_term(b, 200, NULL, &later), LEADERSHIP_ERROR_TIMEOUT);
    must(leadership_elector_leader(b, &leader));
    check(is_text(leadership_leader_value(leader, &len), &len, "a"), "the other one knows who leads");
    leadership_leader_free(leader);

    bool deleted = false;
    const char *state = "abi/elector/state";
    must(leadership_term_put(term, bytes_of(state), strlen(state), bytes_of("1"), 1, PATIENCE_MS, NULL));
    must(leadership_term_delete(term, bytes_of(state), strlen(state), PATIENCE_MS, NULL, &deleted));
    check(deleted, "a guarded put and a guarded delete in a line each");
    must(leadership_term_delete(term, bytes_of(state), strlen(state), PATIENCE_MS, NULL, &deleted));
    check(!deleted, "what is not there is not deleted");

    int64_t token = leadership_term_token(term);
    leadership_term_free(term);
    check(!leadership_elector_is_leader(a), "freeing the term resigns it");
    term = next(b);
    check(leadership_term_token(term) > token, "the other leads, with a larger token");
    must(leadership_term_resign(term, PATIENCE_MS, NULL));
    check(leadership_term_lost_reason(term) == LEADERSHIP_REASON_RESIGNED && !leadership_term_valid(term), "a resign is told");
    must(leadership_term_resign(term, PATIENCE_MS, NULL));
    fails(leadership_term_put(term, bytes_of(state), strlen(state), NULL, 0, PATIENCE_MS, NULL), LEADERSHIP_ERROR_NOT_LEADER);
    leadership_term_free(term);

    must(leadership_elector_close(b, PATIENCE_MS, NULL));
    must(leadership_elector_close(b, PATIENCE_MS, NULL)); /* case 35: twice */
    term = (leadership_term *)client;
    must(leadership_elector_next_term(b, LEADERSHIP_FOREVER, NULL, &term));
    check(!term, "closed: no term and no error");
    check(leadership_elector_state(b) == LEADERSHIP_STATE_STOPPED, "it has stopped");
    fails(leadership_elector_health(b), LEADERSHIP_ERROR_CLOSED);
    must(leadership_elector_close(a, PATIENCE_MS, NULL));
    check(!*holder(client, key), "nobody leads any more");
    leadership_elector_free(a);
    leadership_elector_free(b);
}

struct ender {
    leadership_elector *elector;
    int resigns, code;
};

static void *end_it(void *argument) {
    struct ender *ender = argument;
    leadership_error *error = ender->resigns ? leadership_elector_resign(ender->elector, PATIENCE_MS, NULL)
                                             : leadership_elector_close(ender->elector, PATIENCE_MS, NULL);
    ender->code = (int)leadership_error_code(error);
    leadership_error_free(error);
    return NULL;
}

/* Case 34: the work goes on under authority until the term is freed; only then the key goes. */
static void case_34_work_is_drained(leadership_client *client, int resigns) {
    const char *key = "abi/elector/drain";
    pthread_t thread;
    leadership_elector *elector = elector_of(client, key, "a");
    leadership_term *term = next(elector);
    struct ender ender = {.elector = elector, .resigns = resigns, .code = -1};
    if (pthread_create(&thread, NULL, end_it, &ender) != 0) exit(1);
    uint32_t reason = 0;
    must(leadership_term_wait_lost(term, PATIENCE_MS, NULL, &reason));
    check(reason == (resigns ? LEADERSHIP_REASON_RESIGNED : LEADERSHIP_REASON_CLOSED), "the loss is told at once");
    eventually(leadership_elector_state(elector) == LEADERSHIP_STATE_DRAINING, "it drains");
    check(leadership_term_valid(term), "the term is valid until its holder is done");
    must(leadership_term_put(term, bytes_of("abi/elector/last"), 16, bytes_of("x"), 1, PATIENCE_MS, NULL));
    check(strcmp(holder(client, key), "a") == 0, "and the key is there");
    leadership_term_free(term);
    pthread_join(thread, NULL);
    check(ender.code == 0 && !*holder(client, key), "then it goes, and whoever ended it hears so");
    if (resigns) {
        term = next(elector);
        check(leadership_term_valid(term), "after a resign it goes on campaigning");
        leadership_term_free(term);
        must(leadership_elector_close(elector, PATIENCE_MS, NULL));
    }
    leadership_elector_free(elector);
}

struct waiter {
    leadership_elector *elector;
    leadership_cancel *cancel;
    atomic_int code, terms;
};

static void *wait_for_a_term(void *argument) {
    struct waiter *waiter = argument;
    leadership_term *term = NULL;
    leadership_error *error = leadership_elector_next_term(waiter->elector, LEADERSHIP_FOREVER, waiter->cancel, &term);
    waiter->terms = term != NULL;
    waiter->code = (int)leadership_error_code(error);
    leadership_error_free(error);
    leadership_term_free(term);
    return NULL;
}

/* Case 35: closed, by itself or with its client, while a thread waits for a term that another holds. */
static void case_35_closed_while_somebody_waits(leadership_client *client, int with_its_client) {
    const char *key = "abi/elector/waiting";
    pthread_t thread, cancelled;
    leadership_client *own = connect_to(endpoint);
    leadership_elector *a = elector_of(client, key, "a"), *b = elector_of(own, key, "b");
    leadership_term *term = next(a);
    leadership_cancel *cancel = NULL;
    must(leadership_cancel_new(&cancel));
    struct waiter waiter = {.elector = b, .code = -1}, other = {.elector = b, .cancel = cancel, .code = -1};
    if (pthread_create(&thread, NULL, wait_for_a_term, &waiter) != 0) exit(1);
    if (pthread_create(&cancelled, NULL, wait_for_a_term, &other) != 0) exit(1);
    must(leadership_cancel_trigger(cancel));
    pthread_join(cancelled, NULL);
    check(other.code == LEADERSHIP_ERROR_CANCELLED && !other.terms, "a cancel ends one wait");
    if (with_its_client) must(leadership_client_close(own, PATIENCE_MS, NULL));
    else must(leadership_elector_close(b, PATIENCE_MS, NULL));
    pthread_join(thread, NULL);
    check(waiter.code == 0 && !waiter.terms, "closing ends all: no term, no error");
    check(leadership_term_valid(term), "the other one's term is its own");
    leadership_term_free(term);
    leadership_elector_free(a);
    leadership_elector_free(b);
    leadership_client_free(own);
    leadership_cancel_free(cancel);
}

static void a_term_outlives_its_elector(leadership_client *client) {
    const char *key = "abi/elector/outlives";
    leadership_elector *elector = elector_of(client, key, "a");
    leadership_term *term = next(elector);
    leadership_elector_free(elector);
    must(leadership_term_put(term, bytes_of("abi/elector/late"), 16, bytes_of("x"), 1, PATIENCE_MS, NULL));
    check(leadership_term_valid(term) && !leadership_term_lost(term), "a term outlives its elector");
    check(strcmp(holder(client, key), "a") == 0, "and keeps the key");
    leadership_term_free(term);
    eventually(!*holder(client, key), "until it is freed");
}

/* What a callback was told. */
struct told {
    leadership_elector *elector;
    atomic_int elected, lost, wrong, stopped, leaders, drops, hold, closed_code, done;
    atomic_uint reason;
    leadership_term *view;
    _Atomic int64_t token;
};

static void hear(struct told *told, const leadership_event *event) {
    switch (leadership_event_kind(event)) {
    case LEADERSHIP_EVENT_ELECTED: {
        int64_t token = leadership_term_token(leadership_event_term(event));
        if (told->elected++ != told->lost || token <= told->token) told->wrong = 1;
        told->token = token;
        break;
    }
    case LEADERSHIP_EVENT_LOST:
        if (++told->lost != told->elected) told->wrong = 1;
        told->reason = leadership_event_reason(event);
        break;
    case LEADERSHIP_EVENT_LEADER:
        if (!leadership_event_leader(event)) told->wrong = 1;
        told->leaders++;
        break;
    case LEADERSHIP_EVENT_STOPPED:
        if (told->elected != told->lost || leadership_event_error(event)) told->wrong = 1;
        told->stopped++;
        break;
    default:
        break;
    }
    if (told->drops) told->wrong = 1;
}

static void on_event(void *user_data, const leadership_event *event) { hear(user_data, event); }
static void on_drop(void *user_data) { ((struct told *)user_data)->drops++; }

static void on_done(void *user_data, leadership_error *error) {
    struct told *told = user_data;
    if (error) told->wrong = 1;
    leadership_error_free(error);
    told->done++;
}

/* Case 37: exactly one loss for each election, whatever ends the term, and none for a candidate that never led. */
static void case_37_one_loss_for_each_election(leadership_client *client, leadership_client *other) {
    const char *key = "abi/elector/losses";
    enum { ROUNDS = 8 };
    static struct told told, never;
    leadership_elector *elector = elector_of(client, key, "a"), *follower = elector_of(other, key, "b");
    must(leadership_elector_on_event(elector, on_event, &told, on_drop));
    must(leadership_elector_on_event(follower, on_event, &never, on_drop));
    leadership_term *held = next(elector), *none = NULL;
    fails(leadership_elector_next_term(follower, 100, NULL, &none), LEADERSHIP_ERROR_TIMEOUT);
    must(leadership_elector_close(follower, PATIENCE_MS, NULL));
    check(never.elected == 0 && never.lost == 0 && never.stopped == 1 && never.drops == 1 && never.leaders > 0 && !never.wrong,
          "a candidate that never led lost nothing, and heard who did");
    leadership_term_free(held);
    held = NULL;
    for (int round = 0; round < ROUNDS; round++) {
        leadership_term *term = next(elector);
        uint32_t reason = 0;
        if (round % 2) eventually(told.elected == told.lost + 1, "the election is told"); /* else the loss may be faster */
        switch (round % 4) {
        case 0:
            take_away(other, key);
            break;
        case 1:
            must(leadership_term_resign(term, PATIENCE_MS, NULL));
            break;
        case 2:
            must(leadership_elector_resign_start(elector, NULL, on_done, &told, NULL));
            break;
        default:
            leadership_term_free(term);
            term = NULL;
        }
        if (term) must(leadership_term_wait_lost(term, PATIENCE_MS, NULL, &reason));
        leadership_term_free(held); /* one that was lost before: it goes when it likes */
        held = round % 4 == 2 ? NULL : term;
        if (round % 4 == 2) leadership_term_free(term);
    }
    leadership_term_free(held);
    must(leadership_elector_close(elector, PATIENCE_MS, NULL));
    check(told.elected == told.lost && told.elected >= ROUNDS / 2 && !told.wrong, "one loss for each election, in order");
    check(told.stopped == 1 && told.drops == 1, "the end is told before close returns, and the data let go of");
    eventually(told.done == ROUNDS / 4, "each resign says that it is done");
    leadership_elector_free(elector);
    leadership_elector_free(follower);
}

static int readable(int fd, int timeout_ms) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, timeout_ms) == 1 && poll_fd.revents == POLLIN;
}

/* The next event by poll() and a call that does not wait; its kind, 0 at the end. */
static uint32_t polled(leadership_elector *elector, int fd, leadership_event **event) {
    uint64_t until = tap_now_ms() + PATIENCE_MS;
    while (tap_now_ms() < until) {
        if (!readable(fd, PATIENCE_MS)) break;
        leadership_error *error = leadership_elector_next_event(elector, 0, NULL, event);
        if (leadership_error_code(error) != LEADERSHIP_ERROR_TIMEOUT) {
            must(error);
            return leadership_event_kind(*event);
        }
        leadership_error_free(error); /* it was over when it was asked for */
    }
    return check(0, "an event in time"), 0;
}

static void events_by_a_file_descriptor(leadership_client *client, leadership_client *other) {
    const char *key = "abi/elector/fd";
    leadership_elector *elector = elector_of(client, key, "a");
    leadership_event *event = NULL;
    int fd = -1, again = -1;
    must(leadership_elector_fd(elector, &fd));
    must(leadership_elector_fd(elector, &again));
    check(fd >= 0 && fd == again, "one file descriptor");
    uint32_t kind = polled(elector, fd, &event);
    check(kind == LEADERSHIP_EVENT_VACANT, "at first the key is vacant");
    leadership_event_free(event);
    check(!readable(fd, 50), "what was read is read");
    fails(leadership_elector_next_event(elector, 0, NULL, &event), LEADERSHIP_ERROR_TIMEOUT);

    leadership_term *term = next(elector);
    while ((kind = polled(elector, fd, &event)) == LEADERSHIP_EVENT_CAMPAIGNING) leadership_event_free(event);
    check(kind == LEADERSHIP_EVENT_ELECTED, "the election is told");
    check(leadership_term_token(leadership_event_term(event)) == leadership_term_token(term), "with its term");
    check(strcmp(leadership_event_name(kind), "elected") == 0, "by name");
    leadership_term *view = NULL;
    must(leadership_term_clone(leadership_event_term(event), &view));
    leadership_event_free(event);
    check(leadership_term_valid(view) && !readable(fd, 50), "an event lends its term: a view of it stays");
    leadership_term_free(view);

    /* Terms that come and go while nobody reads: the first's loss is owed, the others are over before they are told. */
    for (int round = 0; round < 3; round++) {
        uint32_t reason = 0;
        leadership_event *seen = NULL;
        take_away(other, key);
        must(leadership_term_wait_lost(term, PATIENCE_MS, NULL, &reason));
        leadership_term_free(term);
        if (round == 0) {
            check(polled(elector, fd, &seen) == LEADERSHIP_EVENT_LOST, "the loss of what was told is told");
            check(leadership_event_reason(seen) == LEADERSHIP_REASON_KEY_DELETED, "and why");
            leadership_event_free(seen);
        }
        term = next(elector);
    }
    while ((kind = polled(elector, fd, &event)) != LEADERSHIP_EVENT_ELECTED) {
        check(kind != LEADERSHIP_EVENT_LOST, "no loss of a term that was not told of");
        leadership_event_free(event);
        if (!kind) break;
    }
    check(leadership_term_token(leadership_event_term(event)) == leadership_term_token(term), "a slow reader gets the latest");
    leadership_event_free(event);
    leadership_term_free(term);

    must(leadership_elector_close(elector, PATIENCE_MS, NULL));
    check(polled(elector, fd, &event) == LEADERSHIP_EVENT_LOST, "its loss");
    leadership_event_free(event);
    while ((kind = polled(elector, fd, &event)) && kind != LEADERSHIP_EVENT_STOPPED) leadership_event_free(event);
    check(kind == LEADERSHIP_EVENT_STOPPED && !leadership_event_error(event), "the end is told");
    leadership_event_free(event);
    check(polled(elector, fd, &event) == 0 && readable(fd, 0), "then there is nothing, which stays readable");
    leadership_elector_free(elector);

    /* A descriptor goes with an elector that nobody closes and nobody reads. */
    elector = elector_of(client, key, "b");
    must(leadership_elector_fd(elector, &fd));
    leadership_elector_free(elector);
}

/* A program that is called: works when it is told to, stops when it is told to. */
static void on_run(void *user_data, const leadership_event *event) {
    struct told *told = user_data;
    if (leadership_event_kind(event) == LEADERSHIP_EVENT_ELECTED) {
        must(leadership_term_clone(leadership_event_term(event), &told->view));
        leadership_error *error = leadership_elector_close(told->elector, 0, NULL);
        told->closed_code = (int)leadership_error_code(error);
        leadership_error_free(error);
    }
    if (leadership_event_kind(event) == LEADERSHIP_EVENT_LOST) {
        uint64_t until = tap_now_ms() + PATIENCE_MS;
        while (told->hold && tap_now_ms() < until) tap_pause(); /* the work is being finished */
        leadership_term_free(told->view);
        told->view = NULL;
    }
    hear(told, event);
}

static void a_program_that_is_called(leadership_client *client, leadership_client *other) {
    const char *key = "abi/elector/run";
    static struct told told;
    told.closed_code = -1;
    told.elector = elector_of(client, key, "a");
    must(leadership_elector_run(told.elector, on_run, &told, on_drop));
    eventually(told.elected == 1, "it campaigns and is told of its term");
    check(leadership_elector_is_leader(told.elector) && strcmp(holder(client, key), "a") == 0, "it leads");
    check(told.closed_code == LEADERSHIP_ERROR_INVALID_ARGUMENT, "closing from a callback is an error");
    take_away(other, key);
    eventually(told.elected == 2 && told.lost == 1, "after a loss it campaigns again");
    check(told.reason == LEADERSHIP_REASON_KEY_DELETED, "it says why");

    told.hold = 1;
    must(leadership_elector_close_start(told.elector, NULL, on_done, &told, NULL));
    eventually(leadership_elector_state(told.elector) == LEADERSHIP_STATE_DRAINING, "closing drains");
    check(strcmp(holder(other, key), "a") == 0 && !told.done, "until the callback has returned from the loss");
    told.hold = 0;
    must(leadership_elector_close(told.elector, PATIENCE_MS, NULL));
    check(!*holder(other, key), "then the key goes");
    check(told.lost == 2 && told.stopped == 1 && told.drops == 1 && !told.wrong, "all was told, and the data let go of");
    check(told.reason == LEADERSHIP_REASON_CLOSED, "and why");
    eventually(told.done == 1, "the close that does not wait says so too");
    leadership_elector_free(told.elector);
}

struct health {
    atomic_int sick, asked, drops;
};

static const char *ask(void *user_data) {
    struct health *health = user_data;
    health->asked++;
    return health->sick ? "the disk is full" : NULL;
}

static void let_go_of_health(void *user_data) { ((struct health *)user_data)->drops++; }

static void a_health_check(leadership_client *client) {
    static struct health health;
    leadership_elector *elector = NULL;
    leadership_elector_options *options = options_of("a");
    must(leadership_elector_options_set_health_check(options, ask, &health, let_go_of_health));
    must(leadership_elector_options_set_health_age(options, 1000));
    must(leadership_elector_start(client, "abi/elector/health", options, &elector));
    leadership_elector_options_free(options);
    leadership_term *term = next(elector);
    check(health.asked > 0, "a healthy process leads");
    must(leadership_elector_health(elector));
    health.sick = 1;
    uint32_t reason = 0;
    must(leadership_term_wait_lost(term, PATIENCE_MS, NULL, &reason));
    check(reason == LEADERSHIP_REASON_UNHEALTHY, "a sick one steps down");
    fails_naming(leadership_elector_health(elector), LEADERSHIP_ERROR_UNAVAILABLE, "the disk is full");
    leadership_term_free(term);
    health.sick = 0;
    term = next(elector);
    check(leadership_term_valid(term), "and leads again when it is well");
    leadership_term_free(term);
    must(leadership_elector_close(elector, PATIENCE_MS, NULL));
    leadership_elector_free(elector);
    eventually(health.drops == 1, "the check's data is let go of, once");
}

struct got {
    atomic_int calls, codes;
    leadership_term *_Atomic term;
};

static void on_term(void *user_data, leadership_error *error, leadership_term *term) {
    struct got *got = user_data;
    got->codes += (int)leadership_error_code(error);
    leadership_error_free(error);
    got->term = term;
    got->calls++;
}

static void on_plain(void *user_data, leadership_error *error) { on_term(user_data, error, NULL); }

static void on_deleted(void *user_data, leadership_error *error, bool deleted) {
    if (!deleted) ((struct got *)user_data)->codes += 1000;
    on_term(user_data, error, NULL);
}

static void forms_that_never_block(leadership_client *client, leadership_client *other) {
    const char *key = "abi/elector/forms";
    static struct got first, waiting, freed, rest, shot;
    leadership_elector *elector = elector_of(client, key, "a"), *second = elector_of(other, key, "b");
    leadership_cancel *cancel = NULL;
    must(leadership_cancel_new(&cancel));
    must(leadership_elector_next_term_start(elector, NULL, on_term, &first, NULL));
    eventually(first.calls == 1 && first.term, "a term comes to a completion");
    must(leadership_elector_next_term_start(second, cancel, on_term, &waiting, NULL));
    must(leadership_cancel_trigger(cancel));
    eventually(waiting.calls == 1, "a cancel ends a completion");
    check(waiting.codes == LEADERSHIP_ERROR_CANCELLED && !waiting.term, "and says so");
    must(leadership_elector_next_term_start(second, NULL, on_term, &freed, NULL));
    leadership_elector_free(second);
    eventually(freed.calls == 1, "an elector that is freed ends its waits");
    check(freed.codes == 0 && !freed.term, "without a term and without an error");
    leadership_cancel_free(cancel);

    leadership_term *term = first.term;
    must(leadership_term_put_start(term, bytes_of("abi/elector/form"), 16, bytes_of("x"), 1, NULL, on_plain, &rest, NULL));
    eventually(rest.calls == 1, "a put");
    must(leadership_term_delete_start(term, bytes_of("abi/elector/form"), 16, NULL, on_deleted, &rest, NULL));
    eventually(rest.calls == 2, "a delete");
    must(leadership_term_resign_start(term, NULL, on_plain, &rest, NULL));
    check(!leadership_term_valid(term), "not leader when a resign has begun");
    leadership_term_free(term);
    eventually(rest.calls == 3 && rest.codes == 0, "and a resign without waiting");
    leadership_elector_free(elector);

    /* One shot. */
    leadership_elector_options *options = options_of("shot");
    must(leadership_client_lead(client, key, options, PATIENCE_MS, NULL, &term));
    check(leadership_term_valid(term) && strcmp(holder(client, key), "shot") == 0, "one shot leads");
    must(leadership_client_lead_start(other, key, options, NULL, on_term, &shot, NULL));
    leadership_elector_options_free(options);
    leadership_term *none = NULL;
    fails(leadership_client_lead(other, key, NULL, 100, NULL, &none), LEADERSHIP_ERROR_TIMEOUT);
    leadership_term_free(term);
    eventually(shot.calls == 1 && shot.term && shot.codes == 0, "freeing it lets the next one lead");
    leadership_term_free(shot.term);
    eventually(!*holder(client, key), "and nothing stays");
}

int main(int argc, char **argv) {
    leadership_testkit_server *server = NULL;
    endpoint = endpoint_or_server(argc, argv, &server);
    leadership_client *client = connect_to(endpoint), *other = connect_to(endpoint);
    the_everyday_loop(client, other);
    case_34_work_is_drained(client, 0);
    case_34_work_is_drained(client, 1);
    case_35_closed_while_somebody_waits(client, 0);
    case_35_closed_while_somebody_waits(client, 1);
    a_term_outlives_its_elector(client);
    case_37_one_loss_for_each_election(client, other);
    events_by_a_file_descriptor(client, other);
    a_program_that_is_called(client, other);
    a_health_check(client);
    forms_that_never_block(client, other);
    must(leadership_client_close(client, PATIENCE_MS, NULL));
    must(leadership_client_close(other, PATIENCE_MS, NULL));
    leadership_client_free(client);
    leadership_client_free(other);
    leadership_testkit_server_free(server);
    return tap_end();
}
