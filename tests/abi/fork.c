/* S12, case 39: the child of a fork leads nothing, every call in it says Forked, and its parent leads on.
 * Owns fork(); a program of its own, because what the child leaves behind on purpose counts as leaks.
 *
 * usage: fork [ENDPOINT]   An etcd to run on; without, a test server of its own. */
#include <sys/wait.h>
#include <unistd.h>

#include "steps.h"

static const char *const KEY = "abi/fork/leader";

/* The child of a fork: says what it saw by its exit code, and runs nothing that the parent registered. */
static int in_the_child(leadership_client *client, leadership_handle *handle, leadership_term *term) {
    if (leadership_check(handle)) return 10;
    if (leadership_term_valid(term)) return 11;
    if (!leadership_term_lost(term)) return 12;
    if (leadership_term_remaining_ns(term) != 0) return 13;
    leadership_error *error = leadership_keep(handle);
    if (leadership_error_code(error) != LEADERSHIP_ERROR_FORKED) return 14;
    leadership_error_free(error);
    leadership_term *again = NULL;
    error = leadership_campaign(handle, NULL, PATIENCE_MS, NULL, &again);
    if (leadership_error_code(error) != LEADERSHIP_ERROR_FORKED || again) return 15;
    leadership_error_free(error);
    leadership_leader *leader = NULL;
    error = leadership_client_get_leader(client, bytes_of(KEY), strlen(KEY), PATIENCE_MS, NULL, &leader);
    if (leadership_error_code(error) != LEADERSHIP_ERROR_FORKED) return 16;
    leadership_error_free(error);
    error = leadership_reset(handle, PATIENCE_MS, NULL);
    if (leadership_error_code(error) != LEADERSHIP_ERROR_FORKED) return 17;
    leadership_error_free(error);
    error = leadership_client_close(client, PATIENCE_MS, NULL);
    if (leadership_error_code(error) != LEADERSHIP_ERROR_FORKED) return 18;
    leadership_error_free(error);
    bool succeeded = false;
    error = guarded_put(term, "abi/slice/child", "1", &succeeded);
    if (leadership_error_code(error) != LEADERSHIP_ERROR_FORKED || succeeded) return 19;
    leadership_error_free(error);
    leadership_term_free(term);
    leadership_free(handle);
    leadership_client_free(client);
    return 0;
}

/* S12: "not leader" in the child, whatever it calls returns Forked, the parent leads on. */
static void a_fork_leads_nothing(leadership_client *client, leadership_handle *handle, leadership_term *term) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(60); /* a child that hangs dies of it, and is seen */
        _exit(in_the_child(client, handle, term));
    }
    int status = -1;
    waitpid(child, &status, 0);
    if (status != 0) printf("# the child's status: %d (exit %d)\n", status, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child of a fork leads nothing, and every call says Forked");
    bool succeeded = false;
    must(guarded_put(term, "abi/slice/parent", "1", &succeeded));
    check(leadership_check(handle) && leadership_term_valid(term) && succeeded, "the parent leads on, and writes");
}

int main(int argc, char **argv) {
    leadership_testkit_server *server = NULL;
    const char *endpoint = endpoint_or_server(argc, argv, &server);
    leadership_client *client = connect_to(endpoint);
    leadership_handle *handle = contender(client, KEY);
    leadership_term *term = win(handle, "parent");
    a_fork_leads_nothing(client, handle, term);
    must(leadership_reset(handle, PATIENCE_MS, NULL));
    leadership_term *again = win(handle, "parent");
    check(leadership_term_valid(again), "and resigns and wins again");
    leadership_term_free(again);
    leadership_term_free(term);
    leadership_free(handle);
    must(leadership_client_close(client, PATIENCE_MS, NULL));
    leadership_client_free(client);
    leadership_testkit_server_free(server);
    return tap_end();
}
