/* Signals are the program's: the library's thread takes none, and a connection that breaks under a write raises no SIGPIPE,
 * whose default action would end the process.
 * Owns the masks of the threads and connections that go; needs its own test servers, which it stops.
 *
 * usage: signals [ENDPOINT]   Ignored: a server that goes is what this is about. */
#include <dirent.h>
#include <signal.h>
#include <stdatomic.h>

#include "steps.h"

/* The blocked signals of the thread with this name, a bit each; 0 if there is none. */
static uint64_t blocked_by(const char *name) {
    uint64_t blocked = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        char path[300], line[256];
        bool found = false;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        FILE *status = fopen(path, "r");
        while (status && fgets(line, sizeof line, status)) {
            if (strncmp(line, "Name:\t", 6) == 0) found = strncmp(line + 6, name, strlen(name)) == 0;
            if (found && strncmp(line, "SigBlk:\t", 8) == 0) blocked = strtoull(line + 8, NULL, 16);
        }
        if (status) fclose(status);
    }
    if (tasks) closedir(tasks);
    return blocked;
}

static bool has(uint64_t set, int signal) { return set >> (signal - 1) & 1; }

static atomic_int answers;

static void on_leader(void *user_data, leadership_error *error, leadership_leader *leader) {
    (void)user_data;
    leadership_error_free(error);
    leadership_leader_free(leader);
    answers++;
}

int main(int argc, char **argv) {
    (void)argc, (void)argv;
    enum { SERVERS = 2, CALLS = 40 };
    sigset_t before, after;
    sigemptyset(&before), sigemptyset(&after);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    for (int round = 0; round < SERVERS; round++) {
        leadership_testkit_server *server = NULL;
        must_kit(leadership_testkit_server_start(NULL, &server));
        leadership_client *client = NULL;
        leadership_client_options *options = NULL;
        must(leadership_client_options_new(&options));
        must(leadership_client_options_set_request_timeout(options, 300)); /* that is how long a call waits for a server that has gone */
        must(leadership_client_connect(leadership_testkit_server_endpoint(server), options, &client));
        leadership_client_options_free(options);
        must(leadership_client_ready(client, PATIENCE_MS, NULL));
        leadership_handle *handle = contender(client, "k");
        leadership_term *term = win(handle, "x");
        if (round == 0) {
            uint64_t io = blocked_by("leadership-io");
            check(has(io, SIGPIPE) && has(io, SIGTERM) && has(io, SIGALRM), "the library's thread takes no signals");
            check(!has(io, SIGSEGV) && !has(io, SIGPROF), "but what it does to itself");
            pthread_sigmask(SIG_SETMASK, NULL, &after);
            check(!sigismember(&after, SIGPIPE) && !sigismember(&after, SIGTERM) && !sigismember(&before, SIGPIPE), "the program's own thread takes its own");
        }
        /* Calls on their way, and the server goes under them. */
        for (int call = 0; call < CALLS; call++) {
            must(leadership_client_get_leader_start(client, bytes_of("k"), 1, NULL, on_leader, NULL, NULL));
        }
        leadership_term_free(term);
        leadership_free(handle);
        leadership_testkit_server_free(server);
        leadership_client_free(client);
    }
    check(true, "servers that go under their clients end nobody");
    eventually(answers == SERVERS * CALLS, "every call is answered");
    return tap_end();
}
