/* Jeopardy: renewals fail, and the user is told before the deadline comes, by an event and by what remains.
 * Owns the way through C, on the test server and on an etcd that is stopped and continued.
 *
 * usage: jeopardy [ENDPOINT]   An etcd whose process id is in LEADERSHIP_ABI_ETCD_PID; without, a test server. */
#include <signal.h>
#include <stdatomic.h>

/* Room for a checker of memory between jeopardy and the loss. */
#define TTL_MS UINT64_C(10000)
#include "steps.h"

static leadership_testkit_server *server;
static pid_t etcd;

static void hang(void) {
    if (server) must_kit(leadership_testkit_server_hang(server, LEADERSHIP_TESTKIT_METHOD_ANY));
    else kill(etcd, SIGSTOP);
}

static void go_on(void) {
    if (server) must_kit(leadership_testkit_server_heal(server));
    else kill(etcd, SIGCONT);
}

/* What was told, in order: a letter each. */
struct told {
    char order[32];
    atomic_size_t count;
    _Atomic uint64_t remaining_ns;
};

static void on_event(void *user_data, const leadership_event *event) {
    static const char letters[] = {[LEADERSHIP_EVENT_ELECTED] = 'e', [LEADERSHIP_EVENT_JEOPARDY] = 'j',
                                   [LEADERSHIP_EVENT_SECURED] = 's', [LEADERSHIP_EVENT_LOST] = 'l'};
    struct told *told = user_data;
    if (leadership_event_kind(event) == LEADERSHIP_EVENT_JEOPARDY) told->remaining_ns = leadership_event_remaining_ns(event);
    size_t count = told->count;
    if (count < sizeof told->order - 1) told->order[count] = letters[leadership_event_kind(event)], told->count = count + 1;
}

int main(int argc, char **argv) {
    const char *endpoint = endpoint_or_server(argc, argv, &server);
    const char *pid = getenv("LEADERSHIP_ABI_ETCD_PID");
    if (!server && !pid) return printf("Bail out! no LEADERSHIP_ABI_ETCD_PID\n0 passed, 1 failed\n"), 1;
    if (!server) etcd = (pid_t)atoi(pid);

    static struct told told;
    leadership_client *client = connect_to(endpoint);
    leadership_handle *handle = contender(client, "abi/jeopardy/leader");
    must(leadership_on_event(handle, on_event, &told, NULL));
    leadership_term *term = win(handle, "a");
    uint64_t ttl_ns = leadership_term_ttl_ms(term) * 1000000;
    eventually(told.count >= 1, "elected");

    hang();
    eventually(strchr(told.order, 'j'), "jeopardy is told while etcd hangs");
    uint64_t left = leadership_term_remaining_ns(term);
    check(leadership_term_valid(term) && !leadership_term_lost(term), "and the term is valid still, not lost yet");
    check(told.remaining_ns > 0 && told.remaining_ns < ttl_ns && left <= told.remaining_ns, "it says what remains");
    tap_pause();
    check(leadership_term_remaining_ns(term) < left, "which grows less");
    go_on();
    eventually(strchr(told.order, 's'), "secured is told when etcd goes on");
    check(leadership_term_remaining_ns(term) > left && !leadership_term_lost(term), "and there is more left again");

    hang();
    eventually(strchr(told.order, 'l'), "the loss is told");
    go_on();
    uint32_t reason = 0;
    must(leadership_term_wait_lost(term, 0, NULL, &reason));
    check(reason == LEADERSHIP_REASON_EXPIRED, "for it expired");
    const char *last = strrchr(told.order, 'j');
    check(told.order[0] == 'e' && last && last[1] == 'l', "after a jeopardy of its own");
    printf("# told: %s\n", told.order);

    leadership_term_free(term);
    leadership_free(handle);
    must(leadership_client_close(client, PATIENCE_MS, NULL));
    leadership_client_free(client);
    leadership_testkit_server_free(server);
    return tap_end();
}
