/* S12, case 39: the child of a fork leads nothing, every call in it says Forked, and its parent leads on undisturbed.
 * Owns fork(), a raw clone, and the ways in which such a child ends; a program of its own, because what the child
 * leaves behind on purpose counts as leaks.
 *
 * usage: fork [ENDPOINT]   An etcd to run on; without, a test server of its own. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A parent that is slowed down by a checker of memory and by children shall lead on too. */
#define TTL_MS UINT64_C(30000)
#include "steps.h"

static const char *const KEY = "abi/fork/leader";

/* Everything that a child may find: one object of each type, made by the parent. */
static leadership_client *client;
static leadership_handle *handle;
static leadership_term *term;
static leadership_lease *lease;
static leadership_txn *txn;
static leadership_leader *leader;
static leadership_cancel *cancel;
static leadership_options *options;
static leadership_campaign_options *campaign_options;
static leadership_client_options *client_options;
static leadership_compare *compare;
static leadership_bytes *bytes;
static leadership_txn_reply *reply;
static leadership_elector *elector;
static leadership_elector_options *elector_options;
static leadership_term *owned; /* the elector's, handed out */
static leadership_event *event;
static leadership_observer *observer;
static leadership_election *election;
static leadership_participants *participants;
static leadership_shared_lease *shared_lease;
static leadership_operator *operator_;

static void on_event(void *user_data, const leadership_event *event) { (void)user_data, (void)event; }
static void on_done(void *user_data, leadership_error *error) { (void)user_data, leadership_error_free(error); }
static void on_log(void *user_data, uint32_t level, const char *target, const char *message) {
    (void)user_data, (void)level, (void)target, (void)message;
}
static void on_watch(void *user_data, leadership_error *error, uint32_t kind, int64_t revision) {
    (void)user_data, (void)kind, (void)revision, leadership_error_free(error);
}
static void on_lost(void *user_data, leadership_error *error, uint32_t reason) {
    (void)user_data, (void)reason, leadership_error_free(error);
}
static void on_campaign(void *user_data, leadership_error *error, leadership_term *won) {
    (void)user_data, leadership_error_free(error), leadership_term_free(won);
}
static void on_commit(void *user_data, leadership_error *error, leadership_txn_reply *answer) {
    (void)user_data, leadership_error_free(error), leadership_txn_reply_free(answer);
}
static void on_leader(void *user_data, leadership_error *error, leadership_leader *leader) {
    (void)user_data, leadership_error_free(error), leadership_leader_free(leader);
}
static void on_lease(void *user_data, leadership_error *error, leadership_lease *granted) {
    (void)user_data, leadership_error_free(error), leadership_lease_free(granted);
}

static void on_deleted(void *user_data, leadership_error *error, bool deleted) {
    (void)user_data, (void)deleted, leadership_error_free(error);
}
static void on_transfer(void *user_data, leadership_error *error, leadership_participant *participant) {
    (void)user_data, leadership_error_free(error), leadership_participant_free(participant);
}
static void on_participants(void *user_data, leadership_error *error, leadership_participants *all) {
    (void)user_data, leadership_error_free(error), leadership_participants_free(all);
}
static const char *on_health(void *user_data) { return (void)user_data, NULL; }
static void on_options_drop(void *user_data) {
    if (getpid() != *(pid_t *)user_data) abort(); /* the data is the parent's to let go of */
}

static int complaints;

/* A child does not count: what is wrong there goes to stderr, and into its status. */
static void must_be(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "# in the child: %s\n", what);
    complaints++;
}

static void forked(leadership_error *error, const char *what) {
    must_be(leadership_error_code(error) == LEADERSHIP_ERROR_FORKED, what);
    leadership_error_free(error);
}

#define says_forked(call) forked((call), #call)
#define is_so(condition) must_be((condition), #condition)

/* Each function of the header that a child may call with what its parent made. */
static void every_function(void) {
    leadership_handle *h = NULL;
    leadership_term *t = NULL;
    leadership_lease *l = NULL;
    leadership_client *c = NULL;
    leadership_leader *who = NULL;
    leadership_txn *x = NULL;
    leadership_txn_reply *r = NULL;
    leadership_bytes *b = NULL;
    uint32_t number = 0;
    int64_t revision = 0;
    uint64_t times = 0;
    leadership_elector *e = NULL;
    leadership_event *ev = NULL;
    leadership_observer *ob = NULL;
    leadership_election *q = NULL;
    leadership_participants *p = NULL;
    leadership_shared_lease *sl = NULL;
    leadership_operator *op = NULL;
    leadership_participant *one = NULL;
    int fd = -1;
    bool deleted = false;
    size_t len = 0;
    size_t key_len = strlen(KEY);
    const uint8_t *key = bytes_of(KEY);

    /* What asks the term is answered locally: no. */
    is_so(!leadership_check(handle));
    is_so(!leadership_term_valid(term));
    is_so(leadership_term_lost(term));
    is_so(leadership_term_lost_reason(term) == LEADERSHIP_REASON_FORKED);
    is_so(leadership_term_remaining_ns(term) == 0);
    is_so(leadership_lease_is_expired(lease));
    is_so(!leadership_elector_is_leader(elector) && leadership_elector_state(elector) == LEADERSHIP_STATE_STOPPED);
    is_so(!leadership_term_valid(owned) && leadership_term_lost_reason(owned) == LEADERSHIP_REASON_FORKED);
    is_so(leadership_event_kind(event) == LEADERSHIP_EVENT_ELECTED && !leadership_term_valid(leadership_event_term(event)));
    is_so(leadership_elector_key(elector, &len) && leadership_election_prefix(election, &len) && leadership_participants_len(participants) == 1);
    is_so(leadership_lease_remaining_ns(lease) == 0);

    /* What never changes is as it was. */
    is_so(leadership_term_token(term) > 0 && leadership_term_lease_id(term) > 0 && leadership_term_ttl_ms(term) >= TTL_MS);
    is_so(leadership_term_key(term, &len) && len == key_len);
    is_so(leadership_term_value(term, &len) && len == strlen("parent"));
    is_so(leadership_key(handle, &len) && len == key_len);
    is_so(leadership_purpose(handle) && !leadership_is_primary(handle));
    is_so(leadership_lease_id(lease) > 0 && leadership_lease_ttl_ms(lease) > 0 && leadership_lease_purpose(lease));
    is_so(leadership_leader_value(leader, &len) && leadership_leader_create_revision(leader) > 0);
    is_so(leadership_leader_mod_revision(leader) > 0 && leadership_leader_lease_id(leader) > 0);
    is_so(leadership_leader_token(leader) == leadership_term_token(term));
    is_so(leadership_bytes_data(bytes, &len) && leadership_txn_reply_succeeded(reply));
    is_so(strcmp(leadership_reason_name(LEADERSHIP_REASON_FORKED), "forked") == 0 && leadership_version());

    /* What needs etcd, the parent's threads or its locks. Nothing is sent, nothing waits, nothing is called back. */
    says_forked(leadership_client_ready(client, PATIENCE_MS, NULL));
    says_forked(leadership_client_ready_start(client, NULL, on_done, NULL, NULL));
    says_forked(leadership_client_get_leader(client, key, key_len, PATIENCE_MS, NULL, &who));
    says_forked(leadership_client_get_leader_start(client, key, key_len, NULL, on_leader, NULL, NULL));
    says_forked(leadership_client_close_start(client, NULL, on_done, NULL, NULL));
    says_forked(leadership_new(client, key, key_len, NULL, &h));
    says_forked(leadership_keep(handle));
    says_forked(leadership_get_term(handle, &t));
    says_forked(leadership_campaign(handle, NULL, PATIENCE_MS, NULL, &t));
    says_forked(leadership_campaign(handle, campaign_options, LEADERSHIP_FOREVER, cancel, &t));
    says_forked(leadership_campaign_start(handle, NULL, NULL, on_campaign, NULL, NULL));
    says_forked(leadership_reset(handle, PATIENCE_MS, NULL));
    says_forked(leadership_reset_start(handle, NULL, on_done, NULL, NULL));
    says_forked(leadership_delete_leader_key(handle, PATIENCE_MS, NULL));
    says_forked(leadership_delete_leader_key_start(handle, NULL, on_done, NULL, NULL));
    says_forked(leadership_delete_leader_key_at(handle, 1, PATIENCE_MS, NULL));
    says_forked(leadership_delete_leader_key_at_start(handle, 1, NULL, on_done, NULL, NULL));
    says_forked(leadership_set_lease(handle, lease));
    says_forked(leadership_get_lease(handle, &l));
    says_forked(leadership_get_client(handle, &c));
    says_forked(leadership_value(handle, &b));
    says_forked(leadership_add_campaign_times(handle));
    says_forked(leadership_get_campaign_times_num(handle, &times));
    says_forked(leadership_reset_campaign_times(handle));
    says_forked(leadership_set_primary_watch(handle, true));
    says_forked(leadership_on_event(handle, on_event, NULL, NULL));
    says_forked(leadership_watch(handle, 0, LEADERSHIP_FOREVER, NULL, &number, &revision));
    says_forked(leadership_watch_start(handle, 0, NULL, on_watch, NULL, NULL));
    says_forked(leadership_term_wait_lost(term, LEADERSHIP_FOREVER, NULL, &number));
    says_forked(leadership_term_wait_lost_start(term, NULL, on_lost, NULL, NULL));
    says_forked(leadership_term_clone(term, &t));
    says_forked(leadership_txn_new(term, &x));
    says_forked(leadership_leader_txn(handle, &x));
    says_forked(leadership_txn_commit(txn, PATIENCE_MS, NULL, &r));
    says_forked(leadership_txn_commit_start(txn, NULL, on_commit, NULL, NULL));
    says_forked(leadership_lease_grant(client, TTL_MS, "child", PATIENCE_MS, NULL, &l));
    says_forked(leadership_lease_grant_start(client, TTL_MS, "child", NULL, on_lease, NULL, NULL));
    says_forked(leadership_lease_keep_alive(lease));
    says_forked(leadership_lease_close(lease, PATIENCE_MS, NULL));
    says_forked(leadership_lease_close_start(lease, NULL, on_done, NULL, NULL));
    says_forked(leadership_lease_close(lease, PATIENCE_MS, NULL));
    says_forked(leadership_elector_start(client, KEY, NULL, &e));
    says_forked(leadership_elector_next_term(elector, LEADERSHIP_FOREVER, NULL, &t));
    says_forked(leadership_elector_next_term_start(elector, NULL, on_campaign, NULL, NULL));
    says_forked(leadership_client_lead(client, KEY, NULL, PATIENCE_MS, NULL, &t));
    says_forked(leadership_client_lead_start(client, KEY, NULL, NULL, on_campaign, NULL, NULL));
    says_forked(leadership_elector_current(elector, &t));
    says_forked(leadership_elector_leader(elector, &who));
    says_forked(leadership_elector_health(elector));
    says_forked(leadership_elector_resign(elector, PATIENCE_MS, NULL));
    says_forked(leadership_elector_resign_start(elector, NULL, on_done, NULL, NULL));
    says_forked(leadership_elector_close(elector, PATIENCE_MS, NULL));
    says_forked(leadership_elector_close_start(elector, NULL, on_done, NULL, NULL));
    says_forked(leadership_elector_on_event(elector, on_event, NULL, NULL));
    says_forked(leadership_elector_run(elector, on_event, NULL, NULL));
    says_forked(leadership_elector_next_event(elector, LEADERSHIP_FOREVER, NULL, &ev));
    says_forked(leadership_elector_fd(elector, &fd));
    says_forked(leadership_term_resign(owned, PATIENCE_MS, NULL));
    says_forked(leadership_term_resign_start(owned, NULL, on_done, NULL, NULL));
    says_forked(leadership_term_put(owned, key, key_len, NULL, 0, PATIENCE_MS, NULL));
    says_forked(leadership_term_put_start(owned, key, key_len, NULL, 0, NULL, on_done, NULL, NULL));
    says_forked(leadership_term_delete(owned, key, key_len, PATIENCE_MS, NULL, &deleted));
    says_forked(leadership_term_delete_start(owned, key, key_len, NULL, on_deleted, NULL, NULL));
    says_forked(leadership_observer_new(client, KEY, &ob));
    says_forked(leadership_observer_next(observer, LEADERSHIP_FOREVER, NULL, &ev));
    says_forked(leadership_observer_fd(observer, &fd));
    says_forked(leadership_election_new(client, KEY, NULL, &q));
    says_forked(leadership_election_campaign(election, NULL, PATIENCE_MS, NULL, &t));
    says_forked(leadership_election_campaign_start(election, NULL, NULL, on_campaign, NULL, NULL));
    says_forked(leadership_election_leader(election, PATIENCE_MS, NULL, &who));
    says_forked(leadership_election_leader_start(election, NULL, on_leader, NULL, NULL));
    says_forked(leadership_election_participants(election, PATIENCE_MS, NULL, &p));
    says_forked(leadership_election_participants_start(election, NULL, on_participants, NULL, NULL));
    says_forked(leadership_elector_transfer(elector, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, PATIENCE_MS, NULL, &one));
    says_forked(leadership_elector_transfer_start(elector, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, NULL, on_transfer, NULL, NULL));
    says_forked(leadership_elector_participants(elector, PATIENCE_MS, NULL, &p));
    says_forked(leadership_elector_participants_start(elector, NULL, on_participants, NULL, NULL));
    says_forked(leadership_operator_new(client, KEY, &op));
    says_forked(leadership_operator_leader(operator_, PATIENCE_MS, NULL, &who));
    says_forked(leadership_operator_leader_start(operator_, NULL, on_leader, NULL, NULL));
    says_forked(leadership_operator_participants(operator_, PATIENCE_MS, NULL, &p));
    says_forked(leadership_operator_participants_start(operator_, NULL, on_participants, NULL, NULL));
    says_forked(leadership_operator_transfer(operator_, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, false, PATIENCE_MS, NULL, &one));
    says_forked(leadership_operator_transfer_start(operator_, LEADERSHIP_SUCCESSOR_RANDOM, NULL, 0, false, NULL, on_transfer, NULL, NULL));
    says_forked(leadership_operator_depose(operator_, false, PATIENCE_MS, NULL, &who));
    says_forked(leadership_operator_depose_start(operator_, false, NULL, on_leader, NULL, NULL));
    says_forked(leadership_operator_pause(operator_, PATIENCE_MS, NULL));
    says_forked(leadership_operator_pause_start(operator_, NULL, on_done, NULL, NULL));
    says_forked(leadership_operator_unpause(operator_, PATIENCE_MS, NULL));
    says_forked(leadership_operator_unpause_start(operator_, NULL, on_done, NULL, NULL));
    says_forked(leadership_operator_is_paused(operator_, PATIENCE_MS, NULL, &deleted));
    says_forked(leadership_operator_is_paused_start(operator_, NULL, on_deleted, NULL, NULL));
    is_so(!op && !one && leadership_operator_key(operator_, &len));
    says_forked(leadership_client_shared_lease(client, TTL_MS, &sl));
    says_forked(leadership_election_proclaim(election, key, key_len, PATIENCE_MS, NULL));
    says_forked(leadership_election_proclaim_start(election, key, key_len, NULL, on_done, NULL, NULL));
    says_forked(leadership_election_observe(election, &ob));
    says_forked(leadership_election_resign(election, PATIENCE_MS, NULL));
    says_forked(leadership_election_resign_start(election, NULL, on_done, NULL, NULL));
    says_forked(leadership_term_proclaim(owned, key, key_len, PATIENCE_MS, NULL));
    says_forked(leadership_term_proclaim_start(owned, key, key_len, NULL, on_done, NULL, NULL));
    says_forked(leadership_term_latest_value(owned, &b));
    says_forked(leadership_elector_proclaim(elector, key, key_len, PATIENCE_MS, NULL));
    says_forked(leadership_elector_proclaim_start(elector, key, key_len, NULL, on_done, NULL, NULL));
    says_forked(leadership_proclaim(handle, key, key_len, PATIENCE_MS, NULL));
    says_forked(leadership_proclaim_start(handle, key, key_len, NULL, on_done, NULL, NULL));
    is_so(leadership_shared_lease_id(shared_lease) == 0 && leadership_shared_lease_ttl_ms(shared_lease) == TTL_MS);
    says_forked(leadership_cancel_trigger(cancel));
    says_forked(leadership_client_close(client, PATIENCE_MS, NULL));
    is_so(!e && !sl && !ev && !ob && !q && !p && fd == -1 && !deleted);
    is_so(!h && !t && !l && !c && !who && !x && !r && !b && !number && !revision && !times);
}

/* Plain data is the child's own copy: it is changed and freed as ever. */
static void free_everything(void) {
    must(leadership_txn_when(txn, compare));
    must(leadership_options_set_purpose(options, "child"));
    must(leadership_client_options_set_drift(client_options, 0));
    leadership_term_free(term);
    leadership_txn_free(txn);
    leadership_lease_free(lease);
    leadership_free(handle);
    leadership_client_free(client);
    leadership_leader_free(leader);
    leadership_cancel_free(cancel);
    leadership_options_free(options);
    leadership_campaign_options_free(campaign_options);
    leadership_client_options_free(client_options);
    leadership_compare_free(compare);
    leadership_bytes_free(bytes);
    leadership_txn_reply_free(reply);
    leadership_event_free(event);
    leadership_term_free(owned);
    leadership_elector_free(elector);
    leadership_elector_options_free(elector_options);
    leadership_observer_free(observer);
    leadership_election_free(election);
    leadership_participants_free(participants);
    leadership_shared_lease_free(shared_lease);
    leadership_operator_free(operator_);
}

static void make_everything(const char *endpoint) {
    client = connect_to(endpoint);
    handle = contender(client, KEY);
    term = win(handle, "parent");
    must(leadership_lease_grant(client, 60000, "beside", PATIENCE_MS, NULL, &lease));
    must(leadership_txn_new(term, &txn));
    must(leadership_client_get_leader(client, bytes_of(KEY), strlen(KEY), PATIENCE_MS, NULL, &leader));
    must(leadership_cancel_new(&cancel));
    must(leadership_options_new(&options));
    must(leadership_campaign_options_new(&campaign_options));
    must(leadership_client_options_new(&client_options));
    must(leadership_compare_version(bytes_of("x"), 1, LEADERSHIP_COMPARE_EQUAL, 0, &compare));
    must(leadership_value(handle, &bytes));
    must(leadership_txn_commit(txn, PATIENCE_MS, NULL, &reply));

    static pid_t parent;
    int fd = -1;
    parent = getpid();
    must(leadership_elector_options_new(&elector_options));
    must(leadership_elector_options_set_ttl(elector_options, TTL_MS));
    must(leadership_client_shared_lease(client, TTL_MS, &shared_lease));
    must(leadership_elector_options_set_lease(elector_options, shared_lease));
    must(leadership_operator_new(client, KEY, &operator_));
    must(leadership_elector_start(client, "abi/fork/elector", elector_options, &elector));
    /* After the start: a check that a busy machine starves is not what this is about. */
    must(leadership_elector_options_set_health_check(elector_options, on_health, &parent, on_options_drop));
    must(leadership_elector_on_event(elector, on_event, NULL, NULL));
    must(leadership_elector_fd(elector, &fd));
    must(leadership_elector_next_term(elector, PATIENCE_MS, NULL, &owned));
    while (leadership_event_kind(event) != LEADERSHIP_EVENT_ELECTED) {
        leadership_event_free(event);
        must(leadership_elector_next_event(elector, PATIENCE_MS, NULL, &event));
    }
    must(leadership_observer_new(client, "abi/fork/elector", &observer));
    must(leadership_observer_fd(observer, &fd));
    leadership_term *place = NULL;
    must(leadership_election_new(client, "abi/fork/queue", NULL, &election));
    must(leadership_election_campaign(election, campaign_options, PATIENCE_MS, NULL, &place));
    must(leadership_election_participants(election, PATIENCE_MS, NULL, &participants));
    leadership_term_free(place);
}

/* The child's status; a child that hangs dies of the alarm it set. */
static bool ends_well(pid_t child, const char *what) {
    int status = -1;
    waitpid(child, &status, 0);
    bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!well) printf("# %s: the child's status is %d (exit %d)\n", what, status, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    return well;
}

static pid_t fork_a_child(void) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) alarm(60);
    return child;
}

/* The parent leads on, and its lease is its own: nothing of a child's took its place. */
static void leads_on(const char *what) {
    bool succeeded = false;
    leadership_error *error = guarded_put(term, "abi/fork/parent", "1", &succeeded);
    if (error) printf("# %s\n", leadership_error_message(error));
    leadership_error_free(error);
    leadership_leader *now = NULL;
    must(leadership_client_get_leader(client, bytes_of(KEY), strlen(KEY), PATIENCE_MS, NULL, &now));
    check(succeeded && leadership_check(handle) && leadership_term_valid(term) && now &&
              leadership_leader_mod_revision(now) == leadership_leader_mod_revision(leader) &&
              !leadership_lease_is_expired(lease) && leadership_term_valid(owned) && leadership_elector_is_leader(elector),
          what);
    leadership_leader_free(now);
}


/* The ways for a child to end: it looks around, frees or not, and goes. True in the child that returns from main. */
static bool a_child_ends(const char *how) {
    pid_t child = fork_a_child();
    if (child == 0) {
        every_function();
        if (strcmp(how, "frees, _exit") == 0) free_everything(), _exit(complaints);
        if (strcmp(how, "frees, exit") == 0) free_everything(), exit(complaints);
        if (strcmp(how, "exit") == 0) exit(complaints);
        if (strcmp(how, "_exit") == 0) _exit(complaints);
        return true;
    }
    char what[96];
    snprintf(what, sizeof what, "a child that looks at everything and ends: %s", how);
    check(ends_well(child, how), what);
    leads_on("the parent leads on");
    return false;
}

/* The kernel's own fork, behind the C library's back: only what allocates nothing is sure to work there. */
static void a_raw_clone(void) {
    fflush(stdout);
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (child == 0) {
        int no = leadership_check(handle) || leadership_term_valid(term) || !leadership_term_lost(term) ||
                 leadership_term_lost_reason(term) != LEADERSHIP_REASON_FORKED || leadership_term_remaining_ns(term) ||
                 !leadership_lease_is_expired(lease);
        _exit(no);
    }
    check(ends_well(child, "raw clone"), "a raw clone is not the leader");
    leads_on("the parent leads on");
}

/* Other threads are busy in the library all the while: each child is forked beside locks that are held at times. */
static atomic_int stop;

static void *busy(void *unused) {
    (void)unused;
    while (!stop) {
        leadership_bytes *value = NULL;
        leadership_term *view = NULL;
        leadership_cancel *own = NULL;
        uint32_t reason = 0;
        must(leadership_value(handle, &value));
        must(leadership_get_term(handle, &view));
        must(leadership_add_campaign_times(handle));
        leadership_term *current = NULL, *none = NULL;
        must(leadership_elector_current(elector, &current));
        leadership_error_free(leadership_elector_next_term(elector, 0, NULL, &none));
        leadership_term_free(current);
        must(leadership_cancel_new(&own));
        leadership_error_free(leadership_term_wait_lost(view, 0, own, &reason));
        must(leadership_cancel_trigger(own));
        leadership_cancel_free(own);
        leadership_term_free(view);
        leadership_bytes_free(value);
    }
    return NULL;
}

static void beside_busy_threads(int forks) {
    pthread_t threads[3];
    int bad = 0;
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, busy, NULL);
    for (int i = 0; i < forks; i++) {
        pid_t child = fork_a_child();
        if (child == 0) {
            every_function();
            free_everything();
            _exit(complaints);
        }
        bad += !ends_well(child, "beside busy threads");
    }
    stop = 1;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    must(leadership_reset_campaign_times(handle));
    check(!bad, "children forked beside threads that are at work in the library end well");
    leads_on("the parent leads on");
}

/* A campaign is under way: the child does not go on with it. */
static void during_a_campaign(void) {
    leadership_handle *other = contender(client, KEY);
    leadership_cancel *enough = NULL;
    must(leadership_cancel_new(&enough));
    must(leadership_watch_start(other, 0, enough, on_watch, NULL, NULL));
    must(leadership_campaign_start(other, NULL, enough, on_campaign, NULL, NULL));
    pid_t child = fork_a_child();
    if (child == 0) {
        leadership_term *won = NULL;
        says_forked(leadership_campaign(other, NULL, PATIENCE_MS, NULL, &won));
        leadership_free(other);
        exit(complaints);
    }
    check(ends_well(child, "during a campaign"), "a child forked during a campaign and a watch ends well");
    must(leadership_cancel_trigger(enough));
    leadership_cancel_free(enough);
    leadership_free(other);
    leads_on("the parent leads on");
}

/* A callback forks. Its child is on the library's own thread, and must not go on as that. */
struct forking {
    atomic_int child, told, drops;
    int how; /* 0: _exit in the callback; 1: return from it */
    pid_t parent;
};

static void fork_in_a_callback(void *user_data, const leadership_event *event) {
    struct forking *forking = user_data;
    forking->told++;
    if (leadership_event_kind(event) != LEADERSHIP_EVENT_ELECTED) return;
    pid_t child = fork_a_child();
    if (child == 0) {
        every_function();
        if (forking->how == 0 || complaints) _exit(complaints);
        return; /* nothing more is called in the child: its only thread ends, and the child with it */
    }
    forking->child = child;
}

static void drop_once(void *user_data) {
    struct forking *forking = user_data;
    if (getpid() != forking->parent) abort(); /* the data is the parent's to let go of */
    forking->drops++;
}

static void during_a_callback(int how) {
    struct forking forking = {.how = how, .parent = getpid()};
    leadership_handle *watcher = contender(client, "abi/fork/callback");
    must(leadership_on_event(watcher, fork_in_a_callback, &forking, drop_once));
    leadership_term *won = win(watcher, "callback");
    eventually(forking.child, "a callback forks");
    check(ends_well(forking.child, "in a callback"), how ? "its child, which returns from it, ends" : "its child ends");
    must(leadership_reset(watcher, PATIENCE_MS, NULL));
    eventually(forking.told >= 2, "the parent's callback is told on");
    leadership_term_free(won);
    leadership_free(watcher);
    eventually(forking.drops == 1, "and drop is called once, in the parent");
    leads_on("the parent leads on");
}

/* A child that connects anew is a process like any other: it leads, and its end releases. */
static void connects_anew(const char *endpoint) {
    const char *key = "abi/fork/anew";
    pid_t child = fork_a_child();
    if (child == 0) {
        leadership_client *own = connect_to(endpoint);
        leadership_handle *mine = contender(own, key);
        leadership_term *won = win(mine, "child");
        is_so(leadership_term_valid(won) && !leadership_check(handle));
        leadership_handle *late = contender(own, KEY);
        leadership_term *none = NULL;
        leadership_error *error = campaign(late, "child", PATIENCE_MS, NULL, &none);
        is_so(leadership_error_code(error) == LEADERSHIP_ERROR_NOT_ELECTED);
        leadership_error_free(error);
        must(leadership_set_log_callback(on_log, LEADERSHIP_LOG_ERROR, NULL, NULL));
        exit(complaints); /* with the own client open */
    }
    check(ends_well(child, "connects anew"), "a child that connects anew leads");
    leadership_leader *gone = NULL;
    must(leadership_client_get_leader(client, bytes_of(key), strlen(key), PATIENCE_MS, NULL, &gone));
    check(!gone, "and its end releases the key, not the parent's");
    leadership_leader_free(gone);
    leads_on("the parent leads on");
}

int main(int argc, char **argv) {
    leadership_testkit_server *server = NULL;
    const char *endpoint = endpoint_or_server(argc, argv, &server);
    make_everything(endpoint);
    if (a_child_ends("frees, _exit") || a_child_ends("frees, exit") || a_child_ends("exit") || a_child_ends("_exit") ||
        a_child_ends("return from main")) {
        return complaints;
    }
    a_raw_clone();
    during_a_campaign();
    during_a_callback(0);
    during_a_callback(1);
    connects_anew(endpoint);
    beside_busy_threads(30);
    must(leadership_reset(handle, PATIENCE_MS, NULL));
    leadership_term *again = win(handle, "parent");
    check(leadership_term_valid(again), "and resigns and wins again");
    leadership_term_free(again);
    free_everything();
    leadership_testkit_server_free(server);
    return tap_end();
}
