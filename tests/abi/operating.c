/* Handing over from C: an elector's transfer to a candidate that is named, the highest or any, and back; what operators do:
 * look, transfer, depose, pause.
 * Owns the way through C; that a hand-over is atomic and what it leaves behind the core's tests say.
 *
 * usage: operating [ENDPOINT]   An etcd to run on; without, a test server of its own. */
#include <stdatomic.h>

/* Room for a checker of memory on a busy machine. */
#define TTL_MS UINT64_C(15000)
#include "steps.h"

static const char *const KEY = "abi/operating";

static leadership_elector *elector_of(leadership_client *client, const char *value, int64_t priority) {
    leadership_elector *elector = NULL;
    leadership_elector_options *options = NULL;
    must(leadership_elector_options_new(&options));
    must(leadership_elector_options_set_value(options, bytes_of(value), strlen(value)));
    must(leadership_elector_options_set_ttl(options, TTL_MS));
    must(leadership_elector_options_set_priority(options, priority));
    must(leadership_elector_options_set_warm(options, true));
    must(leadership_elector_options_set_takeover_delay(options, takeover_delay_ms()));
    must(leadership_elector_options_set_cool_down(options, 30));
    must(leadership_elector_options_set_campaign_limit(options, 1000));
    must(leadership_elector_start(client, KEY, options, &elector));
    leadership_elector_options_free(options);
    return elector;
}

static bool is_text(const uint8_t *bytes, const size_t *len, const char *text) {
    return bytes && *len == strlen(text) && memcmp(bytes, text, *len) == 0;
}

/* An elector that is always called: whoever is given the key works with it until it is lost. */
struct member {
    const char *name;
    leadership_elector *elector;
    atomic_int elected, lost, paused;
    atomic_uint reason;
    _Atomic int64_t token;
};

static void on_event(void *user_data, const leadership_event *event) {
    struct member *member = user_data;
    switch (leadership_event_kind(event)) {
    case LEADERSHIP_EVENT_ELECTED:
        member->token = leadership_term_token(leadership_event_term(event));
        member->elected++;
        break;
    case LEADERSHIP_EVENT_LOST:
        member->reason = leadership_event_reason(event);
        member->lost++;
        break;
    case LEADERSHIP_EVENT_PAUSED:
        member->paused++;
        break;
    default:
        break;
    }
}

static struct member a = {.name = "a"}, b = {.name = "b"}, c = {.name = "c"};

/* It leads and has been told so: a term that ends before that is not told of. */
static int leads(struct member *member) {
    return leadership_elector_is_leader(member->elector) && member->elected == member->lost + 1;
}

static size_t registered(leadership_operator *operator_) {
    leadership_participants *all = NULL;
    must(leadership_operator_participants(operator_, PATIENCE_MS, NULL, &all));
    size_t len = leadership_participants_len(all);
    leadership_participants_free(all);
    return len;
}

/* What came to a completion. */
struct got {
    atomic_int calls, code;
    atomic_bool yes;
    leadership_participant *_Atomic participant;
    leadership_participants *_Atomic participants;
    leadership_leader *_Atomic leader;
};

static void on_done(void *user_data, leadership_error *error) {
    struct got *got = user_data;
    got->code = (int)leadership_error_code(error);
    leadership_error_free(error);
    got->calls++;
}
static void on_transfer(void *user_data, leadership_error *error, leadership_participant *participant) {
    ((struct got *)user_data)->participant = participant;
    on_done(user_data, error);
}
static void on_participants(void *user_data, leadership_error *error, leadership_participants *participants) {
    ((struct got *)user_data)->participants = participants;
    on_done(user_data, error);
}
static void on_leader(void *user_data, leadership_error *error, leadership_leader *leader) {
    ((struct got *)user_data)->leader = leader;
    on_done(user_data, error);
}
static void on_bool(void *user_data, leadership_error *error, bool yes) {
    ((struct got *)user_data)->yes = yes;
    on_done(user_data, error);
}

static bool names(leadership_participant *participant, const char *name) {
    size_t len = 0;
    bool so = is_text(leadership_participant_value(participant, &len), &len, name) && leadership_participant_leads(participant);
    leadership_participant_free(participant);
    return so;
}

/* Case 36: to one that is named, and back; to oneself; to nobody; to the highest; to any. */
static void case_36_a_leader_hands_over(leadership_operator *operator_) {
    leadership_participant *now = NULL;
    leadership_participants *all = NULL;
    size_t len = 0;
    fails_naming(leadership_elector_transfer(a.elector, LEADERSHIP_SUCCESSOR_NAMED, bytes_of("nobody"), 6, PATIENCE_MS, NULL, &now),
                 LEADERSHIP_ERROR_INVALID_ARGUMENT, "to");
    fails(leadership_elector_transfer(b.elector, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, PATIENCE_MS, NULL, &now), LEADERSHIP_ERROR_NOT_LEADER);
    must(leadership_elector_transfer(a.elector, LEADERSHIP_SUCCESSOR_NAMED, bytes_of("a"), 1, PATIENCE_MS, NULL, &now));
    check(names(now, "a") && leads(&a) && !a.lost, "an unknown candidate, a call of another, oneself: nothing has changed");

    must(leadership_elector_participants(a.elector, PATIENCE_MS, NULL, &all));
    const leadership_participant *first = leadership_participants_at(all, 0), *second = leadership_participants_at(all, 1);
    check(leadership_participants_len(all) == 3 && leadership_participant_leads(first), "everybody who takes part, the leader first");
    check(is_text(leadership_participant_value(second, &len), &len, "c") && leadership_participant_priority(second) == 7, "then who has priority");
    leadership_participants_free(all);

    int64_t token = a.token;
    int held_by_b = b.elected;
    must(leadership_elector_transfer(a.elector, LEADERSHIP_SUCCESSOR_NAMED, bytes_of("b"), 1, PATIENCE_MS, NULL, &now));
    check(names(now, "b"), "the key goes to whom it named");
    eventually(b.elected == held_by_b + 1 && a.lost == 1, "who leads, with a larger token");
    check(b.token > token && a.reason == LEADERSHIP_REASON_HANDED_OVER && !leads(&a), "and why is told");

    static struct got back;
    eventually(registered(operator_) == 3, "the old leader stands again");
    must(leadership_elector_transfer_start(b.elector, LEADERSHIP_SUCCESSOR_NAMED, bytes_of("a"), 1, NULL, on_transfer, &back, NULL));
    eventually(back.calls == 1 && a.elected == 2, "and gets it back");
    check(names(back.participant, "a") && a.token > b.token, "with a larger token again");

    eventually(registered(operator_) == 3, "all stand");
    must(leadership_elector_transfer(a.elector, LEADERSHIP_SUCCESSOR_HIGHEST, NULL, 0, PATIENCE_MS, NULL, &now));
    check(names(now, "c"), "the highest is the one with priority");
    eventually(leads(&c), "and leads");
    eventually(registered(operator_) == 3, "all stand");
    must(leadership_elector_transfer(c.elector, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, PATIENCE_MS, NULL, &now));
    leadership_participant_free(now);
    eventually(leads(&a) || leads(&b), "any other one leads");
}

/* Whoever leads now, by its name. */
static struct member *leader_of(leadership_operator *operator_) {
    struct member *all[] = {&a, &b, &c}, *found = NULL;
    leadership_leader *leader = NULL;
    size_t len = 0;
    must(leadership_operator_leader(operator_, PATIENCE_MS, NULL, &leader));
    for (size_t i = 0; i < 3; i++) {
        if (is_text(leadership_leader_value(leader, &len), &len, all[i]->name)) found = all[i];
    }
    leadership_leader_free(leader);
    return found;
}

static void what_operators_do(leadership_operator *operator_) {
    static struct got asked, listed, led, transferred, deposed, paused;
    leadership_participant *now = NULL;
    leadership_leader *old = NULL;
    size_t len = 0;
    bool is = true;
    check(is_text(leadership_operator_key(operator_, &len), &len, KEY), "an operator knows the key");
    must(leadership_operator_is_paused(operator_, PATIENCE_MS, NULL, &is));
    must(leadership_operator_is_paused_start(operator_, NULL, on_bool, &asked, NULL));
    must(leadership_operator_participants_start(operator_, NULL, on_participants, &listed, NULL));
    must(leadership_elector_participants_start(a.elector, NULL, on_participants, &asked, NULL));
    must(leadership_operator_leader_start(operator_, NULL, on_leader, &led, NULL));
    eventually(asked.calls == 2 && listed.calls == 1 && led.calls == 1, "the forms that do not wait answer");
    check(!is && !asked.yes && asked.code == 0 && leadership_participants_len(listed.participants) >= 1 && led.leader, "the same");
    leadership_participants_free(asked.participants);
    leadership_participants_free(listed.participants);
    leadership_leader_free(led.leader);

    /* Paused: the leader gives up in order, nobody campaigns. */
    struct member *leader = leader_of(operator_);
    int lost = leader->lost;
    must(leadership_operator_pause(operator_, PATIENCE_MS, NULL));
    eventually(leader->lost == lost + 1 && leader->reason == LEADERSHIP_REASON_PAUSED, "a pause ends the term in order");
    eventually(leader->paused == 1 && leadership_elector_state(leader->elector) == LEADERSHIP_STATE_PAUSED, "which is told");
    must(leadership_operator_is_paused(operator_, PATIENCE_MS, NULL, &is));
    check(is && !leader_of(operator_), "nobody leads");
    must(leadership_operator_unpause(operator_, PATIENCE_MS, NULL));
    eventually(leads(&a) || leads(&b) || leads(&c), "and it goes on");
    must(leadership_operator_pause_start(operator_, NULL, on_done, &paused, NULL));
    eventually(paused.calls == 1, "paused without waiting");
    must(leadership_operator_unpause_start(operator_, NULL, on_done, &paused, NULL));
    eventually(paused.calls == 2 && paused.code == 0, "and let go on");
    eventually(leads(&a) || leads(&b) || leads(&c), "somebody leads again");

    /* Another one, by name, against the holder's will. */
    eventually(registered(operator_) == 3, "all stand");
    leader = leader_of(operator_);
    struct member *other = leader == &a ? &b : &a;
    lost = leader->lost;
    fails_naming(leadership_operator_transfer(operator_, LEADERSHIP_SUCCESSOR_NAMED, bytes_of("nobody"), 6, false, PATIENCE_MS, NULL, &now),
                 LEADERSHIP_ERROR_INVALID_ARGUMENT, "to");
    must(leadership_operator_transfer(operator_, LEADERSHIP_SUCCESSOR_NAMED, bytes_of(other->name), 1, false, PATIENCE_MS, NULL, &now));
    check(names(now, other->name), "an operator transfers");
    eventually(leader->lost == lost + 1 && leads(other), "the old one stops, the new one leads");
    eventually(registered(operator_) == 3, "all stand");
    must(leadership_operator_transfer_start(operator_, LEADERSHIP_SUCCESSOR_HIGHEST, NULL, 0, false, NULL, on_transfer, &transferred, NULL));
    eventually(transferred.calls == 1 && transferred.code == 0, "without waiting, too");
    check(names(transferred.participant, "c"), "to the highest");
    eventually(leads(&c), "which leads");

    lost = c.lost;
    must(leadership_operator_depose(operator_, false, PATIENCE_MS, NULL, &old));
    check(is_text(leadership_leader_value(old, &len), &len, "c"), "an operator deposes");
    leadership_leader_free(old);
    eventually(c.lost == lost + 1, "who hears of it");
    eventually(leads(&a) || leads(&b) || leads(&c), "and the next one leads");
    /* With `wait` the operator holds the key itself meanwhile. */
    leader = leader_of(operator_);
    lost = leader->lost;
    leadership_cancel *enough = NULL;
    must(leadership_cancel_new(&enough));
    must(leadership_operator_depose_start(operator_, true, enough, on_leader, &deposed, NULL));
    eventually(leader->lost == lost + 1, "the leader stops");
    check(!deposed.calls && !leads(&a) && !leads(&b) && !leads(&c), "and nobody leads while the operator waits");
    must(leadership_cancel_trigger(enough));
    eventually(deposed.calls == 1, "until it has waited enough");
    check(deposed.code == LEADERSHIP_ERROR_CANCELLED, "as it says");
    leadership_cancel_free(enough);
    eventually(leads(&a) || leads(&b) || leads(&c), "then the next one leads");
}

int main(int argc, char **argv) {
    leadership_testkit_server *server = NULL;
    const char *endpoint = endpoint_or_server(argc, argv, &server);
    leadership_client *one = connect_to(endpoint), *two = connect_to(endpoint);
    leadership_operator *operator_ = NULL;
    must(leadership_operator_new(two, KEY, &operator_));
    struct member *all[] = {&a, &b, &c};
    for (size_t i = 0; i < 3; i++) {
        all[i]->elector = elector_of(i ? two : one, all[i]->name, i == 2 ? 7 : 0);
        must(leadership_elector_run(all[i]->elector, on_event, all[i], NULL));
        if (i == 0) eventually(leads(&a), "the first one leads");
    }
    eventually(registered(operator_) == 3, "the others stand by");
    case_36_a_leader_hands_over(operator_);
    what_operators_do(operator_);
    for (size_t i = 0; i < 3; i++) {
        must(leadership_elector_close(all[i]->elector, PATIENCE_MS, NULL));
        leadership_elector_free(all[i]->elector);
    }
    check(a.elected == a.lost && b.elected == b.lost && c.elected == c.lost, "one loss for each election");
    check(registered(operator_) == 0, "and nothing is left");
    leadership_operator_free(operator_);
    must(leadership_client_close(one, PATIENCE_MS, NULL));
    must(leadership_client_close(two, PATIENCE_MS, NULL));
    leadership_client_free(one);
    leadership_client_free(two);
    leadership_testkit_server_free(server);
    return tap_end();
}
