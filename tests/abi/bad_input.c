/* Case 43: every function with NULL in each place, text that is not UTF-8, sizes that cannot be, calls in the wrong order
 * and after the close: an error that names the argument, nothing written, never a crash.
 * Owns bad input; run.sh holds it to naming every function of the header. What good input does is slice.c's.
 *
 * usage: bad_input [ENDPOINT]   An etcd to run on; without, a test server of its own. */
#include <stdatomic.h>

#include "steps.h"

static const char *const NOT_UTF8 = "caf\xe9";

/* A call that must say which of its arguments is bad. */
#define bad(call, argument) tap_fails((call), LEADERSHIP_ERROR_INVALID_ARGUMENT, argument ":", #call, __FILE__, __LINE__)
/* An accessor that must answer NULL with nothing. */
#define quiet(expression) check(expression, #expression)

/* One of each, good. */
struct objects {
    leadership_client *client;
    leadership_handle *handle;
    leadership_term *term;
    leadership_cancel *cancel;
    leadership_lease *lease;
    leadership_compare *compare;
    leadership_txn *txn;
    leadership_options *options;
    leadership_campaign_options *campaign;
    leadership_client_options *client_options;
    leadership_elector_options *elector_options;
    leadership_elector *elector;
    leadership_observer *observer;
    leadership_election *election;
    leadership_shared_lease *shared_lease;
    leadership_operator *operator_;
};

/* Where outputs would go; nothing may ever be written here. */
static struct {
    leadership_bytes *bytes;
    leadership_campaign_options *campaign_options;
    leadership_cancel *cancel;
    leadership_client *client;
    leadership_client_options *client_options;
    leadership_compare *compare;
    leadership_elector *elector;
    leadership_election *election;
    leadership_event *event;
    leadership_handle *handle;
    leadership_leader *leader;
    leadership_observer *observer;
    leadership_operator *operator_;
    leadership_participant *participant;
    leadership_participants *participants;
    leadership_shared_lease *shared_lease;
    leadership_lease *lease;
    leadership_options *options;
    leadership_term *term;
    leadership_txn *txn;
    leadership_txn_reply *txn_reply;
    uint32_t u32;
    int64_t i64;
    uint64_t u64;
    int fd;
    bool flag;
} out;

/* No callback and no drop of a registration that failed is ever called. */
static atomic_int called;

static void on_campaign(void *user_data, leadership_error *error, leadership_term *term) {
    (void)user_data, (void)error, (void)term;
    called++;
}
static void on_done(void *user_data, leadership_error *error) {
    (void)user_data, (void)error;
    called++;
}
static void on_txn(void *user_data, leadership_error *error, leadership_txn_reply *reply) {
    (void)user_data, (void)error, (void)reply;
    called++;
}
static void on_watch(void *user_data, leadership_error *error, uint32_t kind, int64_t revision) {
    (void)user_data, (void)error, (void)kind, (void)revision;
    called++;
}
static void on_lost(void *user_data, leadership_error *error, uint32_t reason) {
    (void)user_data, (void)error, (void)reason;
    called++;
}
static void on_leader(void *user_data, leadership_error *error, leadership_leader *leader) {
    (void)user_data, (void)error, (void)leader;
    called++;
}
static void on_lease(void *user_data, leadership_error *error, leadership_lease *lease) {
    (void)user_data, (void)error, (void)lease;
    called++;
}
static void on_event(void *user_data, const leadership_event *event) {
    (void)user_data, (void)event;
    called++;
}

static void on_deleted(void *user_data, leadership_error *error, bool deleted) {
    (void)user_data, (void)error, (void)deleted;
    called++;
}
static void on_participants(void *user_data, leadership_error *error, leadership_participants *participants) {
    (void)user_data, (void)error, (void)participants;
    called++;
}
static void on_transfer(void *user_data, leadership_error *error, leadership_participant *participant) {
    (void)user_data, (void)error, (void)participant;
    called++;
}
static const char *on_health(void *user_data) {
    (void)user_data;
    called++;
    return NULL;
}

static void null_is_refused_in_each_place(struct objects o) {
    bad(leadership_options_new(NULL), "options");
    bad(leadership_options_set_purpose(NULL, "text"), "options");
    bad(leadership_options_set_purpose(o.options, NULL), "purpose");
    bad(leadership_options_set_takeover_delay(NULL, 1), "options");
    bad(leadership_options_set_step_down_margin(NULL, 1), "options");
    bad(leadership_options_set_campaign_window(NULL, 1), "options");
    bad(leadership_options_set_primary_watch(NULL, true), "options");
    bad(leadership_campaign_options_new(NULL), "options");
    bad(leadership_campaign_options_set_value(NULL, bytes_of("key"), 3), "options");
    bad(leadership_campaign_options_set_ttl(NULL, 1), "options");
    bad(leadership_campaign_options_add_compare(NULL, o.compare), "options");
    bad(leadership_campaign_options_add_compare(o.campaign, NULL), "compare");
    bad(leadership_campaign(NULL, o.campaign, 0, NULL, &out.term), "handle");
    bad(leadership_campaign(o.handle, o.campaign, 0, NULL, NULL), "term");
    bad(leadership_campaign_start(NULL, o.campaign, NULL, on_campaign, NULL, NULL), "handle");
    bad(leadership_campaign_start(o.handle, o.campaign, NULL, NULL, NULL, NULL), "done");
    bad(leadership_cancel_new(NULL), "cancel");
    bad(leadership_cancel_trigger(NULL), "cancel");
    bad(leadership_client_connect(NULL, o.client_options, &out.client), "endpoints");
    bad(leadership_client_connect("text", o.client_options, NULL), "client");
    bad(leadership_client_ready(NULL, 0, NULL), "client");
    bad(leadership_client_ready_start(NULL, NULL, on_done, NULL, NULL), "client");
    bad(leadership_client_ready_start(o.client, NULL, NULL, NULL, NULL), "done");
    bad(leadership_client_get_leader(NULL, bytes_of("key"), 3, 0, NULL, &out.leader), "client");
    bad(leadership_client_get_leader(o.client, bytes_of("key"), 3, 0, NULL, NULL), "leader");
    bad(leadership_client_get_leader_start(NULL, bytes_of("key"), 3, NULL, on_leader, NULL, NULL), "client");
    bad(leadership_client_get_leader_start(o.client, bytes_of("key"), 3, NULL, NULL, NULL, NULL), "done");
    bad(leadership_client_close(NULL, 0, NULL), "client");
    bad(leadership_client_close_start(NULL, NULL, on_done, NULL, NULL), "client");
    bad(leadership_client_close_start(o.client, NULL, NULL, NULL, NULL), "done");
    bad(leadership_client_options_new(NULL), "options");
    bad(leadership_client_options_from_environment(NULL), "options");
    bad(leadership_client_options_set_credentials(NULL, "text", "text"), "options");
    bad(leadership_client_options_set_credentials(o.client_options, NULL, "text"), "user");
    bad(leadership_client_options_set_credentials(o.client_options, "text", NULL), "password");
    bad(leadership_client_options_set_ca(NULL, bytes_of("key"), 3), "options");
    bad(leadership_client_options_set_identity(NULL, bytes_of("key"), 3, bytes_of("key"), 3), "options");
    bad(leadership_client_options_set_ca_file(NULL, "text"), "options");
    bad(leadership_client_options_set_ca_file(o.client_options, NULL), "path");
    bad(leadership_client_options_set_identity_files(NULL, "text", "text"), "options");
    bad(leadership_client_options_set_identity_files(o.client_options, NULL, "text"), "cert_path");
    bad(leadership_client_options_set_identity_files(o.client_options, "text", NULL), "key_path");
    bad(leadership_client_options_set_endpoint_sync(NULL, 1), "options");
    bad(leadership_client_options_set_namespace(NULL, bytes_of("key"), 3), "options");
    bad(leadership_client_options_set_request_timeout(NULL, 1), "options");
    bad(leadership_client_options_set_drift(NULL, 1), "options");
    bad(leadership_client_options_set_reread_interval(NULL, 1), "options");
    bad(leadership_compare_create_revision(bytes_of("key"), 3, LEADERSHIP_COMPARE_EQUAL, 1, NULL), "compare");
    bad(leadership_compare_mod_revision(bytes_of("key"), 3, LEADERSHIP_COMPARE_EQUAL, 1, NULL), "compare");
    bad(leadership_compare_version(bytes_of("key"), 3, LEADERSHIP_COMPARE_EQUAL, 1, NULL), "compare");
    bad(leadership_compare_lease(bytes_of("key"), 3, LEADERSHIP_COMPARE_EQUAL, 1, NULL), "compare");
    bad(leadership_compare_value(bytes_of("key"), 3, LEADERSHIP_COMPARE_EQUAL, bytes_of("key"), 3, NULL), "compare");
    bad(leadership_on_event(NULL, on_event, NULL, NULL), "handle");
    bad(leadership_on_event(o.handle, NULL, NULL, NULL), "callback");
    bad(leadership_new(NULL, bytes_of("key"), 3, o.options, &out.handle), "client");
    bad(leadership_new(o.client, bytes_of("key"), 3, o.options, NULL), "handle");
    bad(leadership_keep(NULL), "handle");
    bad(leadership_get_term(NULL, &out.term), "handle");
    bad(leadership_get_term(o.handle, NULL), "term");
    bad(leadership_reset(NULL, 0, NULL), "handle");
    bad(leadership_reset_start(NULL, NULL, on_done, NULL, NULL), "handle");
    bad(leadership_reset_start(o.handle, NULL, NULL, NULL, NULL), "done");
    bad(leadership_delete_leader_key(NULL, 0, NULL), "handle");
    bad(leadership_delete_leader_key_start(NULL, NULL, on_done, NULL, NULL), "handle");
    bad(leadership_delete_leader_key_start(o.handle, NULL, NULL, NULL, NULL), "done");
    bad(leadership_delete_leader_key_at(NULL, 1, 0, NULL), "handle");
    bad(leadership_delete_leader_key_at_start(NULL, 1, NULL, on_done, NULL, NULL), "handle");
    bad(leadership_delete_leader_key_at_start(o.handle, 1, NULL, NULL, NULL, NULL), "done");
    bad(leadership_set_lease(NULL, o.lease), "handle");
    bad(leadership_get_lease(NULL, &out.lease), "handle");
    bad(leadership_get_lease(o.handle, NULL), "lease");
    bad(leadership_get_client(NULL, &out.client), "handle");
    bad(leadership_get_client(o.handle, NULL), "client");
    bad(leadership_value(NULL, &out.bytes), "handle");
    bad(leadership_value(o.handle, NULL), "bytes");
    bad(leadership_add_campaign_times(NULL), "handle");
    bad(leadership_get_campaign_times_num(NULL, &out.u64), "handle");
    bad(leadership_get_campaign_times_num(o.handle, NULL), "times");
    bad(leadership_reset_campaign_times(NULL), "handle");
    bad(leadership_set_primary_watch(NULL, true), "handle");
    bad(leadership_lease_grant(NULL, 1, "text", 0, NULL, &out.lease), "client");
    bad(leadership_lease_grant(o.client, 1, NULL, 0, NULL, &out.lease), "purpose");
    bad(leadership_lease_grant(o.client, 1, "text", 0, NULL, NULL), "lease");
    bad(leadership_lease_grant_start(NULL, 1, "text", NULL, on_lease, NULL, NULL), "client");
    bad(leadership_lease_grant_start(o.client, 1, NULL, NULL, on_lease, NULL, NULL), "purpose");
    bad(leadership_lease_grant_start(o.client, 1, "text", NULL, NULL, NULL, NULL), "done");
    bad(leadership_lease_keep_alive(NULL), "lease");
    bad(leadership_lease_close(NULL, 0, NULL), "lease");
    bad(leadership_lease_close_start(NULL, NULL, on_done, NULL, NULL), "lease");
    bad(leadership_lease_close_start(o.lease, NULL, NULL, NULL, NULL), "done");
    bad(leadership_term_wait_lost(NULL, 0, NULL, &out.u32), "term");
    bad(leadership_term_wait_lost(o.term, 0, NULL, NULL), "reason");
    bad(leadership_term_wait_lost_start(NULL, NULL, on_lost, NULL, NULL), "term");
    bad(leadership_term_wait_lost_start(o.term, NULL, NULL, NULL, NULL), "done");
    bad(leadership_term_clone(NULL, &out.term), "term");
    bad(leadership_term_clone(o.term, NULL), "view");
    bad(leadership_txn_new(NULL, &out.txn), "term");
    bad(leadership_txn_new(o.term, NULL), "txn");
    bad(leadership_leader_txn(NULL, &out.txn), "handle");
    bad(leadership_leader_txn(o.handle, NULL), "txn");
    bad(leadership_txn_when(NULL, o.compare), "txn");
    bad(leadership_txn_when(o.txn, NULL), "compare");
    bad(leadership_txn_then_put(NULL, bytes_of("key"), 3, bytes_of("key"), 3, 1), "txn");
    bad(leadership_txn_then_delete(NULL, bytes_of("key"), 3), "txn");
    bad(leadership_txn_then_delete_prefix(NULL, bytes_of("key"), 3), "txn");
    bad(leadership_txn_then_get(NULL, bytes_of("key"), 3), "txn");
    bad(leadership_txn_then_get_prefix(NULL, bytes_of("key"), 3, 1), "txn");
    bad(leadership_txn_else_put(NULL, bytes_of("key"), 3, bytes_of("key"), 3, 1), "txn");
    bad(leadership_txn_else_delete(NULL, bytes_of("key"), 3), "txn");
    bad(leadership_txn_else_delete_prefix(NULL, bytes_of("key"), 3), "txn");
    bad(leadership_txn_else_get(NULL, bytes_of("key"), 3), "txn");
    bad(leadership_txn_else_get_prefix(NULL, bytes_of("key"), 3, 1), "txn");
    bad(leadership_txn_commit(NULL, 0, NULL, &out.txn_reply), "txn");
    bad(leadership_txn_commit(o.txn, 0, NULL, NULL), "reply");
    bad(leadership_txn_commit_start(NULL, NULL, on_txn, NULL, NULL), "txn");
    bad(leadership_txn_commit_start(o.txn, NULL, NULL, NULL, NULL), "done");
    bad(leadership_watch(NULL, 1, 0, NULL, &out.u32, &out.i64), "handle");
    bad(leadership_watch(o.handle, 1, 0, NULL, NULL, &out.i64), "kind");
    bad(leadership_watch(o.handle, 1, 0, NULL, &out.u32, NULL), "end_revision");
    bad(leadership_watch_start(NULL, 1, NULL, on_watch, NULL, NULL), "handle");
    bad(leadership_watch_start(o.handle, 1, NULL, NULL, NULL, NULL), "done");
}

/* The same of electors, queues and observers. */
static void null_is_refused_on_the_everyday_path(struct objects o) {
    bad(leadership_elector_options_set_mode(NULL, LEADERSHIP_MODE_QUEUE), "options");
    bad(leadership_elector_options_set_mode(o.elector_options, 0), "mode");
    bad(leadership_elector_options_set_mode(o.elector_options, 3), "mode");
    bad(leadership_elector_options_set_lease(NULL, o.shared_lease), "options");
    bad(leadership_elector_options_set_lease(o.elector_options, NULL), "lease");
    bad(leadership_client_shared_lease(NULL, TTL_MS, &out.shared_lease), "client");
    bad(leadership_client_shared_lease(o.client, TTL_MS, NULL), "lease");
    bad(leadership_client_shared_lease(o.client, 0, &out.shared_lease), "ttl");
    bad(leadership_election_observe(NULL, &out.observer), "election");
    bad(leadership_election_observe(o.election, NULL), "observer");
    bad(leadership_election_resign(NULL, 0, NULL), "election");
    bad(leadership_election_resign_start(NULL, NULL, on_done, NULL, NULL), "election");
    bad(leadership_election_resign_start(o.election, NULL, NULL, NULL, NULL), "done");
    bad(leadership_term_latest_value(NULL, &out.bytes), "term");
    bad(leadership_term_latest_value(o.term, NULL), "value");
    bad(leadership_term_proclaim(NULL, bytes_of("key"), 3, 0, NULL), "term");
    bad(leadership_term_proclaim(o.term, NULL, 3, 0, NULL), "value");
    bad(leadership_term_proclaim_start(NULL, bytes_of("key"), 3, NULL, on_done, NULL, NULL), "term");
    bad(leadership_term_proclaim_start(o.term, bytes_of("key"), SIZE_MAX, NULL, on_done, NULL, NULL), "value");
    bad(leadership_term_proclaim_start(o.term, bytes_of("key"), 3, NULL, NULL, NULL, NULL), "done");
    bad(leadership_elector_proclaim(NULL, bytes_of("key"), 3, 0, NULL), "elector");
    bad(leadership_elector_proclaim(o.elector, NULL, 3, 0, NULL), "value");
    bad(leadership_elector_proclaim_start(NULL, bytes_of("key"), 3, NULL, on_done, NULL, NULL), "elector");
    bad(leadership_elector_proclaim_start(o.elector, bytes_of("key"), SIZE_MAX, NULL, on_done, NULL, NULL), "value");
    bad(leadership_elector_proclaim_start(o.elector, bytes_of("key"), 3, NULL, NULL, NULL, NULL), "done");
    bad(leadership_proclaim(NULL, bytes_of("key"), 3, 0, NULL), "handle");
    bad(leadership_proclaim(o.handle, NULL, 3, 0, NULL), "value");
    bad(leadership_proclaim_start(NULL, bytes_of("key"), 3, NULL, on_done, NULL, NULL), "handle");
    bad(leadership_proclaim_start(o.handle, bytes_of("key"), SIZE_MAX, NULL, on_done, NULL, NULL), "value");
    bad(leadership_proclaim_start(o.handle, bytes_of("key"), 3, NULL, NULL, NULL, NULL), "done");
    bad(leadership_elector_options_new(NULL), "options");
    bad(leadership_elector_options_set_value(NULL, bytes_of("key"), 3), "options");
    bad(leadership_elector_options_set_ttl(NULL, 1), "options");
    bad(leadership_elector_options_set_purpose(NULL, "text"), "options");
    bad(leadership_elector_options_set_purpose(o.elector_options, NULL), "purpose");
    bad(leadership_elector_options_set_takeover_delay(NULL, 1), "options");
    bad(leadership_elector_options_set_step_down_margin(NULL, 1), "options");
    bad(leadership_elector_options_set_drain_timeout(NULL, 1), "options");
    bad(leadership_elector_options_set_cool_down(NULL, 1), "options");
    bad(leadership_elector_options_set_campaign_limit(NULL, 1), "options");
    bad(leadership_elector_options_set_health_check(NULL, on_health, NULL, NULL), "options");
    bad(leadership_elector_options_set_health_check(o.elector_options, NULL, NULL, NULL), "check");
    bad(leadership_elector_options_set_health_age(NULL, 1), "options");
    bad(leadership_elector_start(NULL, "text", o.elector_options, &out.elector), "client");
    bad(leadership_elector_start(o.client, NULL, o.elector_options, &out.elector), "key");
    bad(leadership_elector_start(o.client, "text", o.elector_options, NULL), "elector");
    bad(leadership_elector_next_term(NULL, 0, NULL, &out.term), "elector");
    bad(leadership_elector_next_term(o.elector, 0, NULL, NULL), "term");
    bad(leadership_elector_next_term_start(NULL, NULL, on_campaign, NULL, NULL), "elector");
    bad(leadership_elector_next_term_start(o.elector, NULL, NULL, NULL, NULL), "done");
    bad(leadership_client_lead(NULL, "text", NULL, 0, NULL, &out.term), "client");
    bad(leadership_client_lead(o.client, NULL, NULL, 0, NULL, &out.term), "key");
    bad(leadership_client_lead(o.client, "text", NULL, 0, NULL, NULL), "term");
    bad(leadership_client_lead_start(NULL, "text", NULL, NULL, on_campaign, NULL, NULL), "client");
    bad(leadership_client_lead_start(o.client, NULL, NULL, NULL, on_campaign, NULL, NULL), "key");
    bad(leadership_client_lead_start(o.client, "text", NULL, NULL, NULL, NULL, NULL), "done");
    bad(leadership_elector_current(NULL, &out.term), "elector");
    bad(leadership_elector_current(o.elector, NULL), "term");
    bad(leadership_elector_leader(NULL, &out.leader), "elector");
    bad(leadership_elector_leader(o.elector, NULL), "leader");
    bad(leadership_elector_health(NULL), "elector");
    bad(leadership_elector_resign(NULL, 0, NULL), "elector");
    bad(leadership_elector_resign_start(NULL, NULL, on_done, NULL, NULL), "elector");
    bad(leadership_elector_resign_start(o.elector, NULL, NULL, NULL, NULL), "done");
    bad(leadership_elector_close(NULL, 0, NULL), "elector");
    bad(leadership_elector_close_start(NULL, NULL, on_done, NULL, NULL), "elector");
    bad(leadership_elector_close_start(o.elector, NULL, NULL, NULL, NULL), "done");
    bad(leadership_elector_on_event(NULL, on_event, NULL, NULL), "elector");
    bad(leadership_elector_on_event(o.elector, NULL, NULL, NULL), "callback");
    bad(leadership_elector_run(NULL, on_event, NULL, NULL), "elector");
    bad(leadership_elector_run(o.elector, NULL, NULL, NULL), "callback");
    bad(leadership_elector_next_event(NULL, 0, NULL, &out.event), "elector");
    bad(leadership_elector_next_event(o.elector, 0, NULL, NULL), "event");
    bad(leadership_elector_fd(NULL, &out.fd), "elector");
    bad(leadership_elector_fd(o.elector, NULL), "fd");
    bad(leadership_term_resign(NULL, 0, NULL), "term");
    bad(leadership_term_resign(o.term, 0, NULL), "term");
    bad(leadership_term_resign_start(NULL, NULL, on_done, NULL, NULL), "term");
    bad(leadership_term_resign_start(o.term, NULL, NULL, NULL, NULL), "done");
    bad(leadership_term_resign_start(o.term, NULL, on_done, NULL, NULL), "term");
    bad(leadership_term_put(NULL, bytes_of("key"), 3, bytes_of("key"), 3, 0, NULL), "term");
    bad(leadership_term_put_start(NULL, bytes_of("key"), 3, bytes_of("key"), 3, NULL, on_done, NULL, NULL), "term");
    bad(leadership_term_put_start(o.term, bytes_of("key"), 3, bytes_of("key"), 3, NULL, NULL, NULL, NULL), "done");
    bad(leadership_term_delete(NULL, bytes_of("key"), 3, 0, NULL, &out.flag), "term");
    bad(leadership_term_delete(o.term, bytes_of("key"), 3, 0, NULL, NULL), "deleted");
    bad(leadership_term_delete_start(NULL, bytes_of("key"), 3, NULL, on_deleted, NULL, NULL), "term");
    bad(leadership_term_delete_start(o.term, bytes_of("key"), 3, NULL, NULL, NULL, NULL), "done");
    bad(leadership_observer_new(NULL, "text", &out.observer), "client");
    bad(leadership_observer_new(o.client, NULL, &out.observer), "key");
    bad(leadership_observer_new(o.client, "text", NULL), "observer");
    bad(leadership_observer_next(NULL, 0, NULL, &out.event), "observer");
    bad(leadership_observer_next(o.observer, 0, NULL, NULL), "event");
    bad(leadership_observer_fd(NULL, &out.fd), "observer");
    bad(leadership_observer_fd(o.observer, NULL), "fd");
    bad(leadership_election_new(NULL, "text", o.options, &out.election), "client");
    bad(leadership_election_new(o.client, NULL, o.options, &out.election), "prefix");
    bad(leadership_election_new(o.client, "text", o.options, NULL), "election");
    bad(leadership_election_campaign(NULL, NULL, 0, NULL, &out.term), "election");
    bad(leadership_election_campaign(o.election, NULL, 0, NULL, NULL), "term");
    bad(leadership_election_campaign_start(NULL, NULL, NULL, on_campaign, NULL, NULL), "election");
    bad(leadership_election_campaign_start(o.election, NULL, NULL, NULL, NULL, NULL), "done");
    bad(leadership_election_leader(NULL, 0, NULL, &out.leader), "election");
    bad(leadership_election_leader(o.election, 0, NULL, NULL), "leader");
    bad(leadership_election_leader_start(NULL, NULL, on_leader, NULL, NULL), "election");
    bad(leadership_election_leader_start(o.election, NULL, NULL, NULL, NULL), "done");
    bad(leadership_election_participants(NULL, 0, NULL, &out.participants), "election");
    bad(leadership_election_participants(o.election, 0, NULL, NULL), "participants");
    bad(leadership_election_participants_start(NULL, NULL, on_participants, NULL, NULL), "election");
    bad(leadership_election_participants_start(o.election, NULL, NULL, NULL, NULL), "done");
}

static void null_is_refused_of_operators(struct objects o) {
    bad(leadership_election_proclaim(NULL, bytes_of("key"), 3, 0, NULL), "election");
    bad(leadership_election_proclaim(o.election, NULL, 3, 0, NULL), "value");
    bad(leadership_election_proclaim_start(NULL, bytes_of("key"), 3, NULL, on_done, NULL, NULL), "election");
    bad(leadership_election_proclaim_start(o.election, bytes_of("key"), SIZE_MAX, NULL, on_done, NULL, NULL), "value");
    bad(leadership_election_proclaim_start(o.election, bytes_of("key"), 3, NULL, NULL, NULL, NULL), "done");
    bad(leadership_elector_options_set_priority(NULL, 1), "options");
    bad(leadership_elector_options_set_warm(NULL, true), "options");
    bad(leadership_elector_options_set_take_back(NULL, true), "options");
    bad(leadership_elector_transfer(NULL, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, 0, NULL, &out.participant), "elector");
    bad(leadership_elector_transfer(o.elector, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, 0, NULL, NULL), "participant");
    bad(leadership_elector_transfer(o.elector, 0, NULL, 0, 0, NULL, &out.participant), "to");
    bad(leadership_elector_transfer(o.elector, 4, NULL, 0, 0, NULL, &out.participant), "to");
    bad(leadership_elector_transfer(o.elector, LEADERSHIP_SUCCESSOR_NAMED, NULL, 3, 0, NULL, &out.participant), "value");
    bad(leadership_elector_transfer_start(NULL, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, NULL, on_transfer, NULL, NULL), "elector");
    bad(leadership_elector_transfer_start(o.elector, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, NULL, NULL, NULL, NULL), "done");
    bad(leadership_elector_transfer_start(o.elector, 9, NULL, 0, NULL, on_transfer, NULL, NULL), "to");
    bad(leadership_elector_transfer_start(o.elector, LEADERSHIP_SUCCESSOR_NAMED, bytes_of("key"), SIZE_MAX, NULL, on_transfer, NULL, NULL), "value");
    bad(leadership_elector_participants(NULL, 0, NULL, &out.participants), "elector");
    bad(leadership_elector_participants(o.elector, 0, NULL, NULL), "participants");
    bad(leadership_elector_participants_start(NULL, NULL, on_participants, NULL, NULL), "elector");
    bad(leadership_elector_participants_start(o.elector, NULL, NULL, NULL, NULL), "done");
    bad(leadership_operator_new(NULL, "text", &out.operator_), "client");
    bad(leadership_operator_new(o.client, NULL, &out.operator_), "key");
    bad(leadership_operator_new(o.client, NOT_UTF8, &out.operator_), "key");
    bad(leadership_operator_new(o.client, "", &out.operator_), "key");
    bad(leadership_operator_new(o.client, "text", NULL), "operator_");
    bad(leadership_operator_leader(NULL, 0, NULL, &out.leader), "operator_");
    bad(leadership_operator_leader(o.operator_, 0, NULL, NULL), "leader");
    bad(leadership_operator_leader_start(NULL, NULL, on_leader, NULL, NULL), "operator_");
    bad(leadership_operator_leader_start(o.operator_, NULL, NULL, NULL, NULL), "done");
    bad(leadership_operator_participants(NULL, 0, NULL, &out.participants), "operator_");
    bad(leadership_operator_participants(o.operator_, 0, NULL, NULL), "participants");
    bad(leadership_operator_participants_start(NULL, NULL, on_participants, NULL, NULL), "operator_");
    bad(leadership_operator_participants_start(o.operator_, NULL, NULL, NULL, NULL), "done");
    bad(leadership_operator_transfer(NULL, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, false, 0, NULL, &out.participant), "operator_");
    bad(leadership_operator_transfer(o.operator_, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, false, 0, NULL, NULL), "participant");
    bad(leadership_operator_transfer_start(NULL, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, false, NULL, on_transfer, NULL, NULL), "operator_");
    bad(leadership_operator_transfer_start(o.operator_, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, false, NULL, NULL, NULL, NULL), "done");
    bad(leadership_operator_depose(NULL, false, 0, NULL, &out.leader), "operator_");
    bad(leadership_operator_depose(o.operator_, false, 0, NULL, NULL), "leader");
    bad(leadership_operator_depose_start(NULL, false, NULL, on_leader, NULL, NULL), "operator_");
    bad(leadership_operator_depose_start(o.operator_, false, NULL, NULL, NULL, NULL), "done");
    bad(leadership_operator_pause(NULL, 0, NULL), "operator_");
    bad(leadership_operator_pause_start(NULL, NULL, on_done, NULL, NULL), "operator_");
    bad(leadership_operator_pause_start(o.operator_, NULL, NULL, NULL, NULL), "done");
    bad(leadership_operator_unpause(NULL, 0, NULL), "operator_");
    bad(leadership_operator_unpause_start(NULL, NULL, on_done, NULL, NULL), "operator_");
    bad(leadership_operator_unpause_start(o.operator_, NULL, NULL, NULL, NULL), "done");
    bad(leadership_operator_is_paused(NULL, 0, NULL, &out.flag), "operator_");
    bad(leadership_operator_is_paused(o.operator_, 0, NULL, NULL), "paused");
    bad(leadership_operator_is_paused_start(NULL, NULL, on_deleted, NULL, NULL), "operator_");
    bad(leadership_operator_is_paused_start(o.operator_, NULL, NULL, NULL, NULL), "done");
    bad(leadership_operator_transfer(o.operator_, 0, NULL, 0, false, 0, NULL, &out.participant), "to");
    bad(leadership_operator_transfer_start(o.operator_, 7, NULL, 0, false, NULL, on_transfer, NULL, NULL), "to");
    bad(leadership_operator_transfer(o.operator_, LEADERSHIP_SUCCESSOR_NAMED, NULL, 3, false, 0, NULL, &out.participant), "value");
}

static void bytes_that_cannot_be_are_refused(struct objects o) {
    bad(leadership_elector_options_set_value(o.elector_options, NULL, 3), "value");
    bad(leadership_elector_options_set_value(o.elector_options, bytes_of("key"), SIZE_MAX), "value");
    bad(leadership_term_put(o.term, NULL, 3, bytes_of("key"), 3, 0, NULL), "key");
    bad(leadership_term_put(o.term, bytes_of("key"), 3, NULL, 3, 0, NULL), "value");
    bad(leadership_term_put(o.term, bytes_of("key"), 3, bytes_of("key"), SIZE_MAX, 0, NULL), "value");
    bad(leadership_term_put_start(o.term, bytes_of("key"), SIZE_MAX, bytes_of("key"), 3, NULL, on_done, NULL, NULL), "key");
    bad(leadership_term_put_start(o.term, bytes_of("key"), 3, NULL, 3, NULL, on_done, NULL, NULL), "value");
    bad(leadership_term_delete(o.term, NULL, 3, 0, NULL, &out.flag), "key");
    bad(leadership_term_delete_start(o.term, bytes_of("key"), SIZE_MAX, NULL, on_deleted, NULL, NULL), "key");
    bad(leadership_term_put(o.term, NULL, 0, NULL, 0, PATIENCE_MS, NULL), "key");
    bad(leadership_term_put(o.term, bytes_of("abi/bad/leader"), 14, NULL, 0, PATIENCE_MS, NULL), "key");
    bad(leadership_term_delete(o.term, bytes_of("abi/bad/leader"), 14, PATIENCE_MS, NULL, &out.flag), "key");
    bad(leadership_campaign_options_set_value(o.campaign, NULL, 3), "value");
    bad(leadership_campaign_options_set_value(o.campaign, bytes_of("key"), SIZE_MAX), "value");
    bad(leadership_client_get_leader(o.client, NULL, 3, 0, NULL, &out.leader), "key");
    bad(leadership_client_get_leader(o.client, bytes_of("key"), SIZE_MAX, 0, NULL, &out.leader), "key");
    bad(leadership_client_get_leader_start(o.client, NULL, 3, NULL, on_leader, NULL, NULL), "key");
    bad(leadership_client_options_set_ca(o.client_options, NULL, 3), "pem");
    bad(leadership_client_options_set_ca(o.client_options, bytes_of("key"), SIZE_MAX), "pem");
    bad(leadership_client_options_set_identity(o.client_options, NULL, 3, bytes_of("key"), 3), "cert_pem");
    bad(leadership_client_options_set_identity(o.client_options, bytes_of("key"), SIZE_MAX, bytes_of("key"),
        3), "cert_pem");
    bad(leadership_client_options_set_identity(o.client_options, bytes_of("key"), 3, NULL, 3), "key_pem");
    bad(leadership_client_options_set_identity(o.client_options, bytes_of("key"), 3, bytes_of("key"),
        SIZE_MAX), "key_pem");
    bad(leadership_client_options_set_namespace(o.client_options, NULL, 3), "prefix");
    bad(leadership_client_options_set_namespace(o.client_options, bytes_of("key"), SIZE_MAX), "prefix");
    bad(leadership_compare_create_revision(NULL, 3, LEADERSHIP_COMPARE_EQUAL, 1, &out.compare), "key");
    bad(leadership_compare_create_revision(bytes_of("key"), SIZE_MAX, LEADERSHIP_COMPARE_EQUAL, 1,
        &out.compare), "key");
    bad(leadership_compare_mod_revision(NULL, 3, LEADERSHIP_COMPARE_EQUAL, 1, &out.compare), "key");
    bad(leadership_compare_mod_revision(bytes_of("key"), SIZE_MAX, LEADERSHIP_COMPARE_EQUAL, 1, &out.compare), "key");
    bad(leadership_compare_version(NULL, 3, LEADERSHIP_COMPARE_EQUAL, 1, &out.compare), "key");
    bad(leadership_compare_version(bytes_of("key"), SIZE_MAX, LEADERSHIP_COMPARE_EQUAL, 1, &out.compare), "key");
    bad(leadership_compare_lease(NULL, 3, LEADERSHIP_COMPARE_EQUAL, 1, &out.compare), "key");
    bad(leadership_compare_lease(bytes_of("key"), SIZE_MAX, LEADERSHIP_COMPARE_EQUAL, 1, &out.compare), "key");
    bad(leadership_compare_value(NULL, 3, LEADERSHIP_COMPARE_EQUAL, bytes_of("key"), 3, &out.compare), "key");
    bad(leadership_compare_value(bytes_of("key"), SIZE_MAX, LEADERSHIP_COMPARE_EQUAL, bytes_of("key"), 3,
        &out.compare), "key");
    bad(leadership_compare_value(bytes_of("key"), 3, LEADERSHIP_COMPARE_EQUAL, NULL, 3, &out.compare), "value");
    bad(leadership_compare_value(bytes_of("key"), 3, LEADERSHIP_COMPARE_EQUAL, bytes_of("key"), SIZE_MAX,
        &out.compare), "value");
    bad(leadership_new(o.client, NULL, 3, o.options, &out.handle), "key");
    bad(leadership_new(o.client, bytes_of("key"), SIZE_MAX, o.options, &out.handle), "key");
    bad(leadership_txn_then_put(o.txn, NULL, 3, bytes_of("key"), 3, 1), "key");
    bad(leadership_txn_then_put(o.txn, bytes_of("key"), SIZE_MAX, bytes_of("key"), 3, 1), "key");
    bad(leadership_txn_then_put(o.txn, bytes_of("key"), 3, NULL, 3, 1), "value");
    bad(leadership_txn_then_put(o.txn, bytes_of("key"), 3, bytes_of("key"), SIZE_MAX, 1), "value");
    bad(leadership_txn_then_delete(o.txn, NULL, 3), "key");
    bad(leadership_txn_then_delete(o.txn, bytes_of("key"), SIZE_MAX), "key");
    bad(leadership_txn_then_delete_prefix(o.txn, NULL, 3), "prefix");
    bad(leadership_txn_then_delete_prefix(o.txn, bytes_of("key"), SIZE_MAX), "prefix");
    bad(leadership_txn_then_get(o.txn, NULL, 3), "key");
    bad(leadership_txn_then_get(o.txn, bytes_of("key"), SIZE_MAX), "key");
    bad(leadership_txn_then_get_prefix(o.txn, NULL, 3, 1), "prefix");
    bad(leadership_txn_then_get_prefix(o.txn, bytes_of("key"), SIZE_MAX, 1), "prefix");
    bad(leadership_txn_else_put(o.txn, NULL, 3, bytes_of("key"), 3, 1), "key");
    bad(leadership_txn_else_put(o.txn, bytes_of("key"), SIZE_MAX, bytes_of("key"), 3, 1), "key");
    bad(leadership_txn_else_put(o.txn, bytes_of("key"), 3, NULL, 3, 1), "value");
    bad(leadership_txn_else_put(o.txn, bytes_of("key"), 3, bytes_of("key"), SIZE_MAX, 1), "value");
    bad(leadership_txn_else_delete(o.txn, NULL, 3), "key");
    bad(leadership_txn_else_delete(o.txn, bytes_of("key"), SIZE_MAX), "key");
    bad(leadership_txn_else_delete_prefix(o.txn, NULL, 3), "prefix");
    bad(leadership_txn_else_delete_prefix(o.txn, bytes_of("key"), SIZE_MAX), "prefix");
    bad(leadership_txn_else_get(o.txn, NULL, 3), "key");
    bad(leadership_txn_else_get(o.txn, bytes_of("key"), SIZE_MAX), "key");
    bad(leadership_txn_else_get_prefix(o.txn, NULL, 3, 1), "prefix");
    bad(leadership_txn_else_get_prefix(o.txn, bytes_of("key"), SIZE_MAX, 1), "prefix");
}

static void text_that_is_not_utf8_is_refused(struct objects o) {
    bad(leadership_elector_options_set_purpose(o.elector_options, NOT_UTF8), "purpose");
    bad(leadership_elector_start(o.client, NOT_UTF8, NULL, &out.elector), "key");
    bad(leadership_client_lead(o.client, NOT_UTF8, NULL, 0, NULL, &out.term), "key");
    bad(leadership_client_lead_start(o.client, NOT_UTF8, NULL, NULL, on_campaign, NULL, NULL), "key");
    bad(leadership_observer_new(o.client, NOT_UTF8, &out.observer), "key");
    bad(leadership_election_new(o.client, NOT_UTF8, NULL, &out.election), "prefix");
    bad(leadership_options_set_purpose(o.options, NOT_UTF8), "purpose");
    bad(leadership_client_connect(NOT_UTF8, o.client_options, &out.client), "endpoints");
    bad(leadership_client_options_set_credentials(o.client_options, NOT_UTF8, "text"), "user");
    bad(leadership_client_options_set_credentials(o.client_options, "text", NOT_UTF8), "password");
    bad(leadership_client_options_set_ca_file(o.client_options, NOT_UTF8), "path");
    bad(leadership_client_options_set_identity_files(o.client_options, NOT_UTF8, "text"), "cert_path");
    bad(leadership_client_options_set_identity_files(o.client_options, "text", NOT_UTF8), "key_path");
    bad(leadership_lease_grant(o.client, 1, NOT_UTF8, 0, NULL, &out.lease), "purpose");
    bad(leadership_lease_grant_start(o.client, 1, NOT_UTF8, NULL, on_lease, NULL, NULL), "purpose");
}

static void accessors_answer_null_with_nothing(void) {
    size_t len = 7;
    quiet(!leadership_bytes_data(NULL, &len));
    quiet(leadership_error_code(NULL) == 0);
    quiet(!leadership_error_name(NULL));
    quiet(!leadership_error_message(NULL));
    quiet(!leadership_error_is_retriable(NULL));
    quiet(leadership_error_reason(NULL) == 0);
    quiet(!leadership_error_holder(NULL));
    quiet(!leadership_error_key(NULL));
    quiet(!leadership_error_argument(NULL));
    quiet(!leadership_error_read(NULL));
    quiet(!leadership_error_member(NULL));
    quiet(leadership_event_kind(NULL) == 0);
    quiet(!leadership_event_term(NULL));
    quiet(leadership_event_remaining_ns(NULL) == 0);
    quiet(leadership_event_reason(NULL) == 0);
    quiet(!leadership_event_leader(NULL));
    quiet(leadership_event_since_ns(NULL) == 0);
    quiet(!leadership_event_error(NULL));
    quiet(!leadership_event_name(0) && !leadership_event_name(10) && !leadership_event_name(UINT32_MAX));
    quiet(!leadership_elector_is_leader(NULL));
    quiet(leadership_elector_state(NULL) == 0);
    quiet(!leadership_elector_key(NULL, &len));
    quiet(!leadership_state_name(0) && !leadership_state_name(9));
    quiet(!leadership_election_prefix(NULL, &len));
    quiet(leadership_participants_len(NULL) == 0);
    quiet(!leadership_participants_at(NULL, 0));
    quiet(!leadership_participant_value(NULL, &len));
    quiet(leadership_participant_priority(NULL) == 0);
    quiet(leadership_participant_lease_id(NULL) == 0);
    quiet(leadership_participant_revision(NULL) == 0);
    quiet(!leadership_participant_leads(NULL));
    quiet(!leadership_operator_key(NULL, &len));
    quiet(leadership_shared_lease_id(NULL) == 0 && leadership_shared_lease_ttl_ms(NULL) == 0);
    quiet(!leadership_check(NULL));
    quiet(!leadership_key(NULL, &len));
    quiet(!leadership_purpose(NULL));
    quiet(!leadership_is_primary(NULL));
    quiet(!leadership_leader_value(NULL, &len));
    quiet(leadership_leader_create_revision(NULL) == 0);
    quiet(leadership_leader_mod_revision(NULL) == 0);
    quiet(leadership_leader_lease_id(NULL) == 0);
    quiet(leadership_leader_token(NULL) == 0);
    quiet(leadership_lease_is_expired(NULL));
    quiet(leadership_lease_id(NULL) == 0);
    quiet(leadership_lease_ttl_ms(NULL) == 0);
    quiet(leadership_lease_remaining_ns(NULL) == 0);
    quiet(!leadership_lease_purpose(NULL));
    quiet(!leadership_txn_reply_succeeded(NULL));
    quiet(leadership_txn_reply_revision(NULL) == 0);
    quiet(leadership_txn_reply_len(NULL) == 0);
    quiet(leadership_txn_reply_kind(NULL, 0) == 0);
    quiet(leadership_txn_reply_count(NULL, 0) == 0);
    quiet(leadership_txn_reply_kv_len(NULL, 0) == 0);
    quiet(!leadership_txn_reply_kv(NULL, 0, 0));
    quiet(!leadership_key_value_key(NULL, &len));
    quiet(!leadership_key_value_value(NULL, &len));
    quiet(leadership_key_value_create_revision(NULL) == 0);
    quiet(leadership_key_value_mod_revision(NULL) == 0);
    quiet(leadership_key_value_version(NULL) == 0);
    quiet(leadership_key_value_lease_id(NULL) == 0);
    quiet(!leadership_term_valid(NULL));
    quiet(leadership_term_lost(NULL));
    quiet(leadership_term_lost_reason(NULL) == 0);
    quiet(leadership_term_token(NULL) == 0);
    quiet(leadership_term_remaining_ns(NULL) == 0);
    quiet(leadership_term_lease_id(NULL) == 0);
    quiet(leadership_term_ttl_ms(NULL) == 0);
    quiet(!leadership_term_key(NULL, &len));
    quiet(!leadership_term_value(NULL, &len));
    quiet(len == 0);
    quiet(!leadership_reason_name(0) && !leadership_reason_name(UINT32_MAX));
}

static void freeing_null_does_nothing(void) {
    leadership_elector_options_free(NULL);
    leadership_elector_free(NULL);
    leadership_event_free(NULL);
    leadership_observer_free(NULL);
    leadership_election_free(NULL);
    leadership_participants_free(NULL);
    leadership_participant_free(NULL);
    leadership_operator_free(NULL);
    leadership_shared_lease_free(NULL);
    leadership_bytes_free(NULL);
    leadership_options_free(NULL);
    leadership_campaign_options_free(NULL);
    leadership_cancel_free(NULL);
    leadership_client_free(NULL);
    leadership_client_options_free(NULL);
    leadership_compare_free(NULL);
    leadership_error_free(NULL);
    leadership_free(NULL);
    leadership_leader_free(NULL);
    leadership_lease_free(NULL);
    leadership_txn_reply_free(NULL);
    leadership_term_free(NULL);
    leadership_txn_free(NULL);
    check(1, "freeing NULL does nothing");
}

static void numbers_out_of_range_are_refused(struct objects o) {
    bad(leadership_compare_version(bytes_of("k"), 1, 0, 1, &out.compare), "op");
    bad(leadership_compare_value(bytes_of("k"), 1, 5, NULL, 0, &out.compare), "op");
    bad(leadership_set_log_callback(NULL, 6, NULL, NULL), "level");
    bad(leadership_client_options_set_drift(o.client_options, UINT64_MAX), "drift");
    bad(leadership_watch(o.handle, -1, 0, NULL, &out.u32, &out.i64), "revision");
    bad(leadership_delete_leader_key_at(o.handle, 0, PATIENCE_MS, NULL), "revision");
    bad(leadership_lease_grant(o.client, 0, "bad", PATIENCE_MS, NULL, &out.lease), "ttl");
    bad(leadership_lease_grant(o.client, UINT64_MAX, "bad", PATIENCE_MS, NULL, &out.lease), "ttl");
    bad(leadership_new(o.client, NULL, 0, NULL, &out.handle), "key");
    bad(leadership_new(o.client, bytes_of("k.resigned"), 10, NULL, &out.handle), "key");
    fails(leadership_client_connect("", NULL, &out.client), LEADERSHIP_ERROR_INVALID_ARGUMENT);
    fails(leadership_client_connect("no port", NULL, &out.client), LEADERSHIP_ERROR_INVALID_ARGUMENT);
}

static void the_wrong_order_is_refused(leadership_client *client) {
    leadership_handle *fresh = contender(client, "abi/bad/fresh");
    fails(leadership_keep(fresh), LEADERSHIP_ERROR_NOT_LEADER);
    fails(leadership_delete_leader_key(fresh, PATIENCE_MS, NULL), LEADERSHIP_ERROR_NOT_LEADER);
    must(leadership_reset(fresh, PATIENCE_MS, NULL));
    leadership_term *none = NULL;
    must(leadership_get_term(fresh, &none));
    check(!none && !leadership_check(fresh), "no term before the first campaign");
    leadership_free(fresh);
}

/* What an elector was told that does not fit is said when it starts, by the option's name. */
static void options_that_do_not_fit_are_refused(leadership_client *client) {
    struct {
        leadership_error *(*set)(leadership_elector_options *, uint64_t);
        uint64_t ms;
        const char *names;
    } bad_ones[] = {
        {leadership_elector_options_set_ttl, 0, "ttl:"},
        {leadership_elector_options_set_ttl, UINT64_MAX, "ttl:"},
        {leadership_elector_options_set_takeover_delay, UINT64_MAX, "takeover_delay:"},
        {leadership_elector_options_set_step_down_margin, 4900, "step_down_margin:"},
        {leadership_elector_options_set_drain_timeout, UINT64_MAX, "drain_timeout:"},
        {leadership_elector_options_set_cool_down, UINT64_MAX, "cool_down:"},
        {leadership_elector_options_set_health_age, 2600, "health_age:"},
        {leadership_elector_options_set_health_age, 0, "health_age:"},
    };
    for (size_t i = 0; i < sizeof bad_ones / sizeof *bad_ones; i++) {
        leadership_elector_options *options = NULL;
        must(leadership_elector_options_new(&options));
        must(bad_ones[i].set(options, bad_ones[i].ms));
        fails_naming(leadership_elector_start(client, "abi/bad/elector", options, &out.elector),
                     LEADERSHIP_ERROR_INVALID_ARGUMENT, bad_ones[i].names);
        leadership_elector_options_free(options);
    }
    bad(leadership_elector_start(client, "", NULL, &out.elector), "key");
    bad(leadership_elector_start(client, "k.resigned", NULL, &out.elector), "key");
    bad(leadership_observer_new(client, "", &out.observer), "key");
    bad(leadership_observer_new(client, "k.paused", &out.observer), "key");
    bad(leadership_election_new(client, "", NULL, &out.election), "prefix");
    bad(leadership_election_new(client, "queue/", NULL, &out.election), "prefix");
}

static void after_the_close_everything_says_closed(struct objects o) {
    must(leadership_client_close(o.client, PATIENCE_MS, NULL));
    fails(leadership_elector_start(o.client, "k", NULL, &out.elector), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_elector_next_term_start(o.elector, NULL, on_campaign, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_client_lead(o.client, "k", NULL, PATIENCE_MS, NULL, &out.term), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_client_lead_start(o.client, "k", NULL, NULL, on_campaign, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_elector_health(o.elector), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_elector_resign(o.elector, PATIENCE_MS, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_elector_resign_start(o.elector, NULL, on_done, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_elector_on_event(o.elector, on_event, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_elector_run(o.elector, on_event, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_elector_fd(o.elector, &out.fd), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_observer_new(o.client, "k", &out.observer), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_observer_fd(o.observer, &out.fd), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_election_new(o.client, "k", NULL, &out.election), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_election_campaign(o.election, NULL, PATIENCE_MS, NULL, &out.term), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_election_campaign_start(o.election, NULL, NULL, on_campaign, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_election_leader(o.election, PATIENCE_MS, NULL, &out.leader), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_election_leader_start(o.election, NULL, on_leader, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_election_participants(o.election, PATIENCE_MS, NULL, &out.participants), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_election_participants_start(o.election, NULL, on_participants, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_term_put(o.term, bytes_of("k"), 1, NULL, 0, PATIENCE_MS, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_term_put_start(o.term, bytes_of("k"), 1, NULL, 0, NULL, on_done, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_term_delete(o.term, bytes_of("k"), 1, PATIENCE_MS, NULL, &out.flag), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_term_delete_start(o.term, bytes_of("k"), 1, NULL, on_deleted, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_client_shared_lease(o.client, TTL_MS, &out.shared_lease), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_election_observe(o.election, &out.observer), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_election_resign(o.election, PATIENCE_MS, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_election_resign_start(o.election, NULL, on_done, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_term_proclaim(o.term, NULL, 0, PATIENCE_MS, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_term_proclaim_start(o.term, NULL, 0, NULL, on_done, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_elector_proclaim(o.elector, NULL, 0, PATIENCE_MS, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_elector_proclaim_start(o.elector, NULL, 0, NULL, on_done, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_proclaim_start(o.handle, NULL, 0, NULL, on_done, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_elector_participants(o.elector, PATIENCE_MS, NULL, &out.participants), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_elector_participants_start(o.elector, NULL, on_participants, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_elector_transfer(o.elector, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, PATIENCE_MS, NULL, &out.participant), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_elector_transfer_start(o.elector, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, NULL, on_transfer, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_operator_new(o.client, "k", &out.operator_), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_operator_leader(o.operator_, PATIENCE_MS, NULL, &out.leader), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_operator_leader_start(o.operator_, NULL, on_leader, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_operator_participants(o.operator_, PATIENCE_MS, NULL, &out.participants), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_operator_participants_start(o.operator_, NULL, on_participants, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_operator_transfer(o.operator_, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, false, PATIENCE_MS, NULL, &out.participant), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_operator_transfer_start(o.operator_, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, false, NULL, on_transfer, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_operator_depose(o.operator_, false, PATIENCE_MS, NULL, &out.leader), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_operator_depose_start(o.operator_, false, NULL, on_leader, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_operator_pause(o.operator_, PATIENCE_MS, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_operator_pause_start(o.operator_, NULL, on_done, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_operator_unpause(o.operator_, PATIENCE_MS, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_operator_unpause_start(o.operator_, NULL, on_done, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_operator_is_paused(o.operator_, PATIENCE_MS, NULL, &out.flag), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_operator_is_paused_start(o.operator_, NULL, on_deleted, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_election_proclaim(o.election, NULL, 0, PATIENCE_MS, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_election_proclaim_start(o.election, NULL, 0, NULL, on_done, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    must(leadership_elector_next_term(o.elector, PATIENCE_MS, NULL, &out.term)); /* closed in order: success and NULL */
    must(leadership_elector_close(o.elector, PATIENCE_MS, NULL));
    check(leadership_elector_state(o.elector) == LEADERSHIP_STATE_STOPPED && !out.term, "the elector has stopped");
    fails(leadership_client_ready(o.client, PATIENCE_MS, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_client_get_leader(o.client, bytes_of("k"), 1, PATIENCE_MS, NULL, &out.leader), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_campaign(o.handle, NULL, PATIENCE_MS, NULL, &out.term), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_campaign_start(o.handle, NULL, NULL, on_campaign, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_keep(o.handle), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_leader_txn(o.handle, &out.txn), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_client_get_leader_start(o.client, bytes_of("k"), 1, NULL, on_leader, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_delete_leader_key_start(o.handle, NULL, on_done, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_delete_leader_key_at_start(o.handle, 1, NULL, on_done, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_lease_grant_start(o.client, TTL_MS, "late", NULL, on_lease, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_reset(o.handle, PATIENCE_MS, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_delete_leader_key(o.handle, PATIENCE_MS, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_watch(o.handle, 0, PATIENCE_MS, NULL, &out.u32, &out.i64), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_watch_start(o.handle, 0, NULL, on_watch, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_on_event(o.handle, on_event, NULL, NULL), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_txn_commit(o.txn, PATIENCE_MS, NULL, &out.txn_reply), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_lease_grant(o.client, TTL_MS, "late", PATIENCE_MS, NULL, &out.lease), LEADERSHIP_ERROR_CLOSED);
    fails(leadership_lease_keep_alive(o.lease), LEADERSHIP_ERROR_CLOSED);
    check(!leadership_check(o.handle) && leadership_term_lost_reason(o.term) == LEADERSHIP_REASON_CLOSED, "the term says why");
    check(leadership_lease_is_expired(o.lease), "the lease is gone");
}

int main(int argc, char **argv) {
    leadership_testkit_server *server = NULL;
    struct objects o = {0};
    o.client = connect_to(endpoint_or_server(argc, argv, &server));
    o.handle = contender(o.client, "abi/bad/leader");
    o.term = win(o.handle, "good");
    must(leadership_cancel_new(&o.cancel));
    must(leadership_lease_grant(o.client, TTL_MS, "good", PATIENCE_MS, NULL, &o.lease));
    must(leadership_compare_version(bytes_of("k"), 1, LEADERSHIP_COMPARE_EQUAL, 1, &o.compare));
    must(leadership_txn_new(o.term, &o.txn));
    must(leadership_options_new(&o.options));
    must(leadership_campaign_options_new(&o.campaign));
    must(leadership_client_options_new(&o.client_options));
    must(leadership_elector_options_new(&o.elector_options));
    must(leadership_elector_start(o.client, "abi/bad/elector", NULL, &o.elector));
    must(leadership_observer_new(o.client, "abi/bad/observed", &o.observer));
    must(leadership_election_new(o.client, "abi/bad/queue", NULL, &o.election));
    must(leadership_client_shared_lease(o.client, TTL_MS, &o.shared_lease));
    must(leadership_operator_new(o.client, "abi/bad/operated", &o.operator_));

    null_is_refused_in_each_place(o);
    null_is_refused_on_the_everyday_path(o);
    null_is_refused_of_operators(o);
    bytes_that_cannot_be_are_refused(o);
    text_that_is_not_utf8_is_refused(o);
    accessors_answer_null_with_nothing();
    freeing_null_does_nothing();
    numbers_out_of_range_are_refused(o);
    options_that_do_not_fit_are_refused(o.client);
    the_wrong_order_is_refused(o.client);
    check(leadership_check(o.handle) && leadership_term_valid(o.term), "none of it has hurt the term");
    after_the_close_everything_says_closed(o);
    check(!out.bytes && !out.campaign_options && !out.cancel && !out.client && !out.client_options && !out.compare && !out.elector && !out.election && !out.event && !out.observer && !out.participants && !out.participant && !out.operator_ && !out.shared_lease && !out.fd && !out.flag && !out.handle && !out.leader && !out.lease && !out.options && !out.term && !out.txn && !out.txn_reply && !out.u32 && !out.i64 && !out.u64, "no output was written");
    check(!called, "no callback was called");

    /* Objects go in any order, their client first. */
    leadership_client_free(o.client);
    leadership_txn_free(o.txn);
    leadership_term_free(o.term);
    leadership_free(o.handle);
    leadership_lease_free(o.lease);
    leadership_cancel_free(o.cancel);
    leadership_compare_free(o.compare);
    leadership_options_free(o.options);
    leadership_campaign_options_free(o.campaign);
    leadership_client_options_free(o.client_options);
    leadership_elector_free(o.elector);
    leadership_elector_options_free(o.elector_options);
    leadership_observer_free(o.observer);
    leadership_election_free(o.election);
    leadership_shared_lease_free(o.shared_lease);
    leadership_operator_free(o.operator_);
    leadership_testkit_server_free(server);
    return tap_end();
}
