/* Queues and observers from C: waiting in line, who is next, leaving; what an observer is told, by calls and by a file
 * descriptor; values proclaimed in place; electors in a queue and on one lease.
 * Owns what C adds to the core's; the order of a queue and its keys the core's tests say.
 *
 * usage: queue_observer [ENDPOINT]   An etcd to run on; without, a test server of its own. */
#include <poll.h>
#include <stdatomic.h>

#include "steps.h"

static leadership_campaign_options *value_of(const char *value) {
    leadership_campaign_options *options = NULL;
    must(leadership_campaign_options_new(&options));
    must(leadership_campaign_options_set_value(options, bytes_of(value), strlen(value)));
    must(leadership_campaign_options_set_ttl(options, TTL_MS));
    return options;
}

static leadership_election *election_of(leadership_client *client, const char *prefix) {
    leadership_election *election = NULL;
    leadership_options *options = NULL;
    must(leadership_options_new(&options));
    must(leadership_options_set_takeover_delay(options, takeover_delay_ms()));
    must(leadership_election_new(client, prefix, options, &election));
    leadership_options_free(options);
    return election;
}

static leadership_term *win_in_line(leadership_election *election, const char *value) {
    leadership_campaign_options *options = value_of(value);
    leadership_term *term = NULL;
    must(leadership_election_campaign(election, options, PATIENCE_MS, NULL, &term));
    leadership_campaign_options_free(options);
    return term;
}

static bool is_text(const uint8_t *bytes, const size_t *len, const char *text) {
    return bytes && *len == strlen(text) && memcmp(bytes, text, *len) == 0;
}

/* The next news, which must come: its kind, and the leader's value. */
static uint32_t next_news(leadership_observer *observer, const char *value) {
    leadership_event *event = NULL;
    size_t len = 0;
    must(leadership_observer_next(observer, PATIENCE_MS, NULL, &event));
    uint32_t kind = leadership_event_kind(event);
    if (kind == LEADERSHIP_EVENT_LEADER && value) {
        check(is_text(leadership_leader_value(leadership_event_leader(event), &len), &len, value), value);
    }
    leadership_event_free(event);
    return kind;
}

/* What came to a completion. */
struct got {
    atomic_int calls, code;
    leadership_term *_Atomic term;
    leadership_leader *_Atomic leader;
    leadership_participants *_Atomic participants;
};

static void on_term(void *user_data, leadership_error *error, leadership_term *term) {
    struct got *got = user_data;
    got->code = (int)leadership_error_code(error);
    leadership_error_free(error);
    got->term = term;
    got->calls++;
}

static void on_leader(void *user_data, leadership_error *error, leadership_leader *leader) {
    ((struct got *)user_data)->leader = leader;
    on_term(user_data, error, NULL);
}

static void on_participants(void *user_data, leadership_error *error, leadership_participants *participants) {
    ((struct got *)user_data)->participants = participants;
    on_term(user_data, error, NULL);
}

static void on_done(void *user_data, leadership_error *error) { on_term(user_data, error, NULL); }

static size_t in_line(leadership_election *election) {
    leadership_participants *all = NULL;
    must(leadership_election_participants(election, PATIENCE_MS, NULL, &all));
    size_t len = leadership_participants_len(all);
    leadership_participants_free(all);
    return len;
}

static void a_queue(leadership_client *one, leadership_client *two) {
    const char *prefix = "abi/queue";
    static struct got second, third, lost, led, listed, resigned;
    size_t len = 0;
    leadership_election *a = election_of(one, prefix), *b = election_of(two, prefix);
    leadership_leader *leader = NULL;
    leadership_participants *all = NULL;
    leadership_observer *observer = NULL;
    check(is_text(leadership_election_prefix(a, &len), &len, prefix), "an election knows its prefix");
    must(leadership_election_leader(a, PATIENCE_MS, NULL, &leader));
    check(!leader && in_line(a) == 0, "nobody is in line");
    must(leadership_election_observe(b, &observer));
    check(next_news(observer, NULL) == LEADERSHIP_EVENT_VACANT, "an observer hears so");

    leadership_term *term = win_in_line(a, "a");
    check(leadership_term_valid(term) && !leadership_term_lost(term), "the first in line leads");
    check(next_news(observer, "a") == LEADERSHIP_EVENT_LEADER, "the observer hears who");

    leadership_campaign_options *options = value_of("b");
    leadership_cancel *cancel = NULL;
    must(leadership_cancel_new(&cancel));
    must(leadership_election_campaign_start(b, options, NULL, on_term, &second, NULL));
    eventually(in_line(a) == 2, "the next one waits");
    must(leadership_election_campaign_start(b, options, cancel, on_term, &third, NULL));
    eventually(in_line(a) == 3, "and one more");
    leadership_term *none = NULL;
    fails(leadership_election_campaign(b, options, 100, NULL, &none), LEADERSHIP_ERROR_TIMEOUT);
    must(leadership_cancel_trigger(cancel));
    eventually(third.calls == 1, "a cancel ends a wait");
    check(third.code == LEADERSHIP_ERROR_CANCELLED && !third.term, "and says so");
    eventually(in_line(a) == 2, "who gave up waiting leaves the line");
    leadership_cancel_free(cancel);

    must(leadership_election_participants(a, PATIENCE_MS, NULL, &all));
    const leadership_participant *first = leadership_participants_at(all, 0), *last = leadership_participants_at(all, 1);
    check(leadership_participant_leads(first) && !leadership_participant_leads(last), "the leader comes first");
    check(is_text(leadership_participant_value(first, &len), &len, "a") && is_text(leadership_participant_value(last, &len), &len, "b"), "with their values");
    check(leadership_participant_lease_id(first) == leadership_term_lease_id(term) && leadership_participant_lease_id(last), "and their leases");
    check(leadership_participant_revision(first) == leadership_term_token(term) &&
              leadership_participant_revision(last) > leadership_participant_revision(first) &&
              leadership_participant_priority(last) == 0, "in the order of their coming");
    check(!leadership_participants_at(all, 2), "and nobody else");
    leadership_participants_free(all);
    must(leadership_election_leader_start(b, NULL, on_leader, &led, NULL));
    must(leadership_election_participants_start(b, NULL, on_participants, &listed, NULL));
    eventually(led.calls == 1 && listed.calls == 1, "the forms that do not wait answer, too");
    check(is_text(leadership_leader_value(led.leader, &len), &len, "a") && leadership_participants_len(listed.participants) == 2, "the same");
    leadership_leader_free(led.leader);
    leadership_participants_free(listed.participants);

    must(leadership_term_proclaim(term, bytes_of("a2"), 2, PATIENCE_MS, NULL));
    check(next_news(observer, "a2") == LEADERSHIP_EVENT_LEADER, "a value proclaimed in place is news");

    int64_t token = leadership_term_token(term);
    leadership_term_free(term);
    eventually(second.calls == 1 && second.term, "freeing the term lets the next one lead");
    check(leadership_term_token(second.term) > token, "with a larger token");
    check(next_news(observer, "b") == LEADERSHIP_EVENT_LEADER, "and no vacancy between them");
    static struct got proclaimed;
    must(leadership_election_proclaim(b, bytes_of("b2"), 2, PATIENCE_MS, NULL));
    check(next_news(observer, "b2") == LEADERSHIP_EVENT_LEADER, "an election proclaims for what it won");
    must(leadership_election_proclaim_start(b, bytes_of("b3"), 2, NULL, on_done, &proclaimed, NULL));
    eventually(proclaimed.calls == 1 && proclaimed.code == 0, "without waiting, too");
    check(next_news(observer, "b3") == LEADERSHIP_EVENT_LEADER, "which is news again");

    /* A place that goes fails its campaign at once, not when its turn would have come. */
    must(leadership_election_campaign_start(a, options, NULL, on_term, &lost, NULL));
    eventually(in_line(a) == 2, "one more in line");
    must(leadership_election_participants(a, PATIENCE_MS, NULL, &all));
    char key[64];
    leadership_handle *stranger = contender(one, "abi/queue-stranger");
    leadership_term *strangers = win(stranger, "x");
    bool deleted = false;
    int key_len = snprintf(key, sizeof key, "%s/%llx", prefix,
                           (unsigned long long)leadership_participant_lease_id(leadership_participants_at(all, 1)));
    must(leadership_term_delete(strangers, bytes_of(key), (size_t)key_len, PATIENCE_MS, NULL, &deleted));
    check(deleted, "its key is where etcd's own clients have theirs");
    leadership_participants_free(all);
    eventually(lost.calls == 1, "a place that goes ends its campaign");
    check(lost.code == LEADERSHIP_ERROR_NOT_ELECTED && !lost.term && leadership_term_valid(second.term), "at once");
    leadership_term_free(strangers);
    leadership_free(stranger);

    must(leadership_election_resign_start(b, NULL, on_done, &resigned, NULL));
    eventually(resigned.calls == 1 && resigned.code == 0, "an election resigns what it won");
    check(!leadership_term_valid(second.term), "not leader any more");
    check(next_news(observer, NULL) == LEADERSHIP_EVENT_VACANT, "and the line is empty");
    must(leadership_election_resign(b, PATIENCE_MS, NULL)); /* nothing is held: success */
    leadership_term_free(second.term);
    leadership_campaign_options_free(options);
    leadership_observer_free(observer);

    /* The everyday loop in a queue. */
    leadership_elector_options *queue = NULL;
    leadership_elector *elector = NULL;
    must(leadership_elector_options_new(&queue));
    must(leadership_elector_options_set_mode(queue, LEADERSHIP_MODE_QUEUE));
    must(leadership_elector_options_set_takeover_delay(queue, takeover_delay_ms()));
    must(leadership_elector_start(one, prefix, queue, &elector));
    must(leadership_elector_next_term(elector, PATIENCE_MS, NULL, &term));
    check(leadership_term_valid(term) && in_line(b) == 1, "an elector stands in a queue");
    leadership_term_free(term);
    must(leadership_elector_close(elector, PATIENCE_MS, NULL));
    check(in_line(b) == 0, "and leaves it");
    leadership_elector_free(elector);
    leadership_elector_options_free(queue);
    leadership_election_free(a);
    leadership_election_free(b);
}

static int readable(int fd, int timeout_ms) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, timeout_ms) == 1 && poll_fd.revents == POLLIN;
}

static void an_observer(leadership_client *client, const char *endpoint) {
    const char *key = "abi/observed";
    leadership_client *own = connect_to(endpoint);
    leadership_observer *observer = NULL, *late = NULL;
    leadership_event *event = NULL;
    leadership_handle *handle = contender(client, key);
    int fd = -1;
    must(leadership_observer_new(own, key, &observer));
    must(leadership_observer_fd(observer, &fd));
    check(readable(fd, PATIENCE_MS), "there is news to read");
    check(next_news(observer, NULL) == LEADERSHIP_EVENT_VACANT, "nobody leads");
    check(!readable(fd, 50), "what was read is read");
    fails(leadership_observer_next(observer, 0, NULL, &event), LEADERSHIP_ERROR_TIMEOUT);

    leadership_term *term = win(handle, "a");
    check(readable(fd, PATIENCE_MS), "a leader is news");
    must(leadership_observer_next(observer, 0, NULL, &event));
    const leadership_leader *leader = leadership_event_leader(event);
    check(leadership_event_kind(event) == LEADERSHIP_EVENT_LEADER && leadership_leader_token(leader) == leadership_term_token(term), "with its token");
    check(leadership_event_since_ns(event) > 0, "and since when");
    leadership_event_free(event);
    must(leadership_observer_new(own, key, &late));
    must(leadership_observer_next(late, PATIENCE_MS, NULL, &event));
    check(leadership_event_since_ns(event) == 0, "which one that comes later cannot know");
    leadership_event_free(event);
    leadership_observer_free(late);

    leadership_bytes *value = NULL;
    size_t len = 0;
    must(leadership_proclaim(handle, bytes_of("a2"), 2, PATIENCE_MS, NULL));
    check(next_news(observer, "a2") == LEADERSHIP_EVENT_LEADER, "its new value is news");
    must(leadership_term_latest_value(term, &value));
    check(is_text(leadership_bytes_data(value, &len), &len, "a2") && is_text(leadership_term_value(term, &len), &len, "a"), "the term knows both");
    leadership_bytes_free(value);

    /* Nobody reads while much happens: nothing is queued. */
    leadership_term_free(term);
    for (int round = 0; round < 3; round++) {
        must(leadership_reset(handle, PATIENCE_MS, NULL));
        term = win(handle, round < 2 ? "b" : "c");
        if (round < 2) leadership_term_free(term);
    }
    static struct got proclaimed;
    must(leadership_term_proclaim_start(term, bytes_of("d"), 1, NULL, on_done, &proclaimed, NULL));
    must(leadership_proclaim_start(handle, bytes_of("e"), 1, NULL, on_done, &proclaimed, NULL));
    eventually(proclaimed.calls == 2 && proclaimed.code == 0, "values are proclaimed without waiting");
    leadership_leader *now = NULL;
    must(leadership_client_get_leader(own, bytes_of(key), strlen(key), PATIENCE_MS, NULL, &now));
    check(is_text(leadership_leader_value(now, &len), &len, "e"), "in their order");
    leadership_leader_free(now);
    int told = 0;
    bool latest = false;
    for (; !latest && told < 20; told++) {
        must(leadership_observer_next(observer, PATIENCE_MS, NULL, &event));
        latest = is_text(leadership_leader_value(leadership_event_leader(event), &len), &len, "e");
        leadership_event_free(event);
    }
    check(latest && told <= 2, "a slow reader gets the latest, and at most what was on its way"); /* this client's stream may be behind */

    must(leadership_client_close(own, PATIENCE_MS, NULL));
    check(readable(fd, PATIENCE_MS), "the end is news");
    must(leadership_observer_next(observer, PATIENCE_MS, NULL, &event));
    check(leadership_event_kind(event) == LEADERSHIP_EVENT_STOPPED && !leadership_event_error(event), "in order");
    leadership_event_free(event);
    must(leadership_observer_next(observer, 0, NULL, &event));
    check(!event && readable(fd, 0), "then there is none");
    leadership_observer_free(observer);
    leadership_client_free(own);
    leadership_term_free(term);
    leadership_free(handle);
}

static void one_lease_for_two(leadership_client *client) {
    leadership_shared_lease *lease = NULL;
    leadership_elector_options *options = NULL;
    leadership_elector *a = NULL, *b = NULL, *same = NULL;
    leadership_term *one = NULL, *two = NULL;
    must(leadership_client_shared_lease(client, TTL_MS, &lease));
    check(leadership_shared_lease_id(lease) == 0 && leadership_shared_lease_ttl_ms(lease) == TTL_MS, "not granted before it is needed");
    must(leadership_elector_options_new(&options));
    must(leadership_elector_options_set_takeover_delay(options, takeover_delay_ms()));
    must(leadership_elector_options_set_lease(options, lease));
    must(leadership_elector_start(client, "abi/shared/a", options, &a));
    must(leadership_elector_start(client, "abi/shared/b", options, &b));
    fails_naming(leadership_elector_start(client, "abi/shared/a", options, &same), LEADERSHIP_ERROR_INVALID_ARGUMENT, "lease");
    leadership_elector_options_free(options);
    must(leadership_elector_next_term(a, PATIENCE_MS, NULL, &one));
    must(leadership_elector_next_term(b, PATIENCE_MS, NULL, &two));
    check(leadership_term_lease_id(one) == leadership_term_lease_id(two) && leadership_term_lease_id(one) == leadership_shared_lease_id(lease),
          "two electors on one lease");
    leadership_shared_lease_free(lease);
    leadership_term_free(one);
    must(leadership_elector_close(a, PATIENCE_MS, NULL));
    leadership_elector_free(a);
    must(leadership_elector_proclaim(b, bytes_of("b2"), 2, PATIENCE_MS, NULL));
    leadership_leader *leader = NULL;
    size_t len = 0;
    must(leadership_client_get_leader(client, bytes_of("abi/shared/b"), 12, PATIENCE_MS, NULL, &leader));
    check(is_text(leadership_leader_value(leader, &len), &len, "b2") && leadership_leader_token(leader) == leadership_term_token(two),
          "the end of one is not the other's, which has another value in the same term");
    leadership_leader_free(leader);
    static struct got done;
    must(leadership_elector_proclaim_start(b, bytes_of("b3"), 2, NULL, on_done, &done, NULL));
    eventually(done.calls == 1 && done.code == 0, "and without waiting");
    leadership_term_free(two);
    must(leadership_elector_close(b, PATIENCE_MS, NULL));
    leadership_elector_free(b);
}

int main(int argc, char **argv) {
    leadership_testkit_server *server = NULL;
    const char *endpoint = endpoint_or_server(argc, argv, &server);
    leadership_client *one = connect_to(endpoint), *two = connect_to(endpoint);
    a_queue(one, two);
    an_observer(one, endpoint);
    one_lease_for_two(one);
    must(leadership_client_close(one, PATIENCE_MS, NULL));
    must(leadership_client_close(two, PATIENCE_MS, NULL));
    leadership_client_free(one);
    leadership_client_free(two);
    leadership_testkit_server_free(server);
    return tap_end();
}
