/* Case 40: a process that ends with a leader alive ends at once, cleanly, and its key is released by then.
 * Owns the ways to end; each is a child of this program that runs it anew and leads. Forks are fork.c's, unloading is
 * unload.c's.
 *
 * usage: exit [ENDPOINT]                An etcd to run on; without, a test server of its own.
 *        exit ENDPOINT WAY KEY          The child: leads, says so, ends in this way when its stdin ends. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "steps.h"

/* The header of leadership_client_connect says so. */
#define EXIT_BOUND_MS UINT64_C(2000)
/* For the rest of a process's end; a checker of memory takes its time. */
#define SLACK_MS UINT64_C(1500)

/* Where a program has them, so that a checker of leaks finds them held. */
static leadership_client *client;
static leadership_handle *handle;
static leadership_term *term;
static const char *way;
static const char *program;

static bool is(const char *name) { return strcmp(way, name) == 0; }

static void free_all(void) {
    leadership_term_free(term);
    leadership_free(handle);
    leadership_client_free(client);
    term = NULL, handle = NULL, client = NULL;
}

static void close_and_check(void) {
    must(leadership_client_close(client, PATIENCE_MS, NULL));
    if (!leadership_term_lost(term)) abort();
    leadership_client_close(client, PATIENCE_MS, NULL);
    free_all();
}

/* Only in the child that asks for it; destructors run after every handler of atexit. */
__attribute__((destructor)) static void at_the_very_end(void) {
    if (way && is("destructor")) free_all();
}

static void on_event(void *user_data, const leadership_event *event) {
    if (leadership_event_kind(event) == LEADERSHIP_EVENT_ELECTED && is("callback")) {
        char end;
        while (read(STDIN_FILENO, &end, 1) > 0) continue;
        exit(0);
    }
    /* The loss is told at the end of the process too, while everything is still there. */
    if (leadership_event_kind(event) == LEADERSHIP_EVENT_LOST) *(int *)user_data = 1;
}

static void *end_from_a_thread(void *unused) {
    (void)unused;
    exit(0);
}

static void *wait_for_ever(void *unused) {
    (void)unused;
    uint32_t kind = 0;
    int64_t revision = 0;
    leadership_error_free(leadership_watch(handle, 0, LEADERSHIP_FOREVER, NULL, &kind, &revision));
    return NULL;
}

static leadership_elector *elector;

static void *wait_for_the_next_term(void *unused) {
    (void)unused;
    leadership_term *next = NULL;
    leadership_error_free(leadership_elector_next_term(elector, LEADERSHIP_FOREVER, NULL, &next));
    return NULL;
}

/* Nobody lets go of an elector's term once the process ends: its drain must not hold that up. */
static int elect_and_end(const char *endpoint, const char *key) {
    static int lost;
    pthread_t thread;
    client = connect_to(endpoint);
    must(leadership_elector_start(client, key, NULL, &elector));
    if (is("elector, called")) {
        must(leadership_elector_run(elector, on_event, &lost, NULL));
        while (!leadership_elector_is_leader(elector)) tap_pause();
    } else {
        must(leadership_elector_next_term(elector, PATIENCE_MS, NULL, &term));
    }
    if (is("elector")) pthread_create(&thread, NULL, wait_for_the_next_term, NULL);
    printf("leads\n");
    fflush(stdout);
    char end;
    while (read(STDIN_FILENO, &end, 1) > 0) continue;
    return 0;
}

static int lead_and_end(const char *endpoint, const char *key) {
    if (strncmp(way, "elector", 7) == 0) return elect_and_end(endpoint, key);
    static int lost;
    pthread_t thread;
    if (is("atexit before")) atexit(free_all); /* runs after the library's own */
    client = connect_to(endpoint);
    handle = contender(client, key);
    if (is("callback") || is("told")) must(leadership_on_event(handle, on_event, &lost, NULL));
    term = win(handle, "child");
    if (is("atexit after")) atexit(free_all);
    if (is("atexit closes")) atexit(close_and_check);
    if (is("waiting")) pthread_create(&thread, NULL, wait_for_ever, NULL);
    printf("leads\n");
    fflush(stdout);
    char end;
    while (!is("callback") && read(STDIN_FILENO, &end, 1) > 0) continue;
    if (is("callback")) wait_for_ever(NULL), pause();
    if (is("exit")) exit(0);
    if (is("thread")) {
        pthread_create(&thread, NULL, end_from_a_thread, NULL);
        pause();
    }
    if (is("freed")) free_all();
    if (is("freed, the client first")) {
        leadership_client_free(client);
        leadership_term_free(term);
        leadership_free(handle);
        client = NULL, handle = NULL, term = NULL;
    }
    if (is("closed")) must(leadership_client_close(client, PATIENCE_MS, NULL));
    return 0;
}

struct child {
    pid_t pid;
    int in, out;
};

static struct child start(const char *endpoint, const char *how, const char *key) {
    struct child child;
    int in[2], out[2];
    if (pipe(in) || pipe(out)) exit(1);
    child.pid = fork();
    if (child.pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        close(in[0]), close(in[1]), close(out[0]), close(out[1]);
        execl(program, program, endpoint, how, key, (char *)NULL);
        _exit(127);
    }
    close(in[0]), close(out[1]);
    fcntl(in[1], F_SETFD, FD_CLOEXEC), fcntl(out[0], F_SETFD, FD_CLOEXEC);
    child.in = in[1], child.out = out[0];
    return child;
}

static bool leads(struct child *child) {
    char said[64] = "";
    ssize_t len = read(child->out, said, sizeof said - 1);
    return len > 0 && strncmp(said, "leads\n", 6) == 0;
}

/* Lets the child end; its status, or -1 if it did not within the patience, or said anything on its way out. */
static int end(struct child *child, uint64_t *took) {
    uint64_t begun = tap_now_ms();
    close(child->in);
    int status = -1;
    while (waitpid(child->pid, &status, WNOHANG) == 0) {
        if (tap_now_ms() - begun > PATIENCE_MS) {
            kill(child->pid, SIGKILL);
            waitpid(child->pid, &status, 0);
            status = -1;
            break;
        }
        tap_pause();
    }
    *took = tap_now_ms() - begun;
    char said[1024];
    ssize_t len = read(child->out, said, sizeof said - 1);
    if (len > 0) {
        said[len] = '\0';
        printf("# it says: %s\n", said);
        status = -1;
    }
    close(child->out);
    return status;
}

static void ends_and_releases(leadership_client *observer, const char *endpoint, const char *how) {
    char key[64], what[128];
    uint64_t took = 0;
    snprintf(key, sizeof key, "abi/exit/%s", how);
    struct child child = start(endpoint, how, key);
    bool led = leads(&child);
    int status = end(&child, &took);
    leadership_leader *leader = NULL;
    must(leadership_client_get_leader(observer, bytes_of(key), strlen(key), PATIENCE_MS, NULL, &leader));
    if (status || !led || leader || took > SLACK_MS) {
        printf("# %s: led %d, status %d, the key is %s, %d ms\n", how, led, status, leader ? "there" : "gone", (int)took);
    }
    snprintf(what, sizeof what, "%s: ends with status 0, soon, and the key is gone by then", how);
    check(led && status == 0 && !leader && took < SLACK_MS, what);
    leadership_leader_free(leader);
}

/* etcd hangs: nobody can be told, and the process ends all the same. */
static void ends_without_etcd(const char *how) {
    leadership_testkit_server *server = NULL;
    char what[128];
    uint64_t took = 0;
    must_kit(leadership_testkit_server_start(NULL, &server));
    struct child child = start(leadership_testkit_server_endpoint(server), how, "k");
    bool led = leads(&child);
    must_kit(leadership_testkit_server_hang(server, LEADERSHIP_TESTKIT_METHOD_ANY));
    int status = end(&child, &took);
    if (status || !led) printf("# %s: led %d, status %d\n", how, led, status);
    printf("# etcd hangs, %s: %d ms\n", how, (int)took);
    snprintf(what, sizeof what, "%s, etcd hangs: ends with status 0, within the bound", how);
    check(led && status == 0 && took < EXIT_BOUND_MS + SLACK_MS, what);
    leadership_testkit_server_free(server);
}

int main(int argc, char **argv) {
    program = argv[0];
    if (argc == 4) {
        way = argv[2];
        return lead_and_end(argv[1], argv[3]);
    }
    static const char *const ways[] = {"return",        "exit",       "thread", "callback",
                                       "waiting",       "told",       "freed",  "freed, the client first",
                                       "atexit before", "atexit after", "atexit closes", "destructor", "closed",
                                       "elector",       "elector, called"};
    leadership_testkit_server *server = NULL;
    const char *endpoint = endpoint_or_server(argc, argv, &server);
    leadership_client *observer = connect_to(endpoint);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) ends_and_releases(observer, endpoint, ways[i]);
    if (server) {
        ends_without_etcd("return");
        ends_without_etcd("thread");
        ends_without_etcd("waiting");
        ends_without_etcd("freed");
    }
    must(leadership_client_close(observer, PATIENCE_MS, NULL));
    leadership_client_free(observer);
    leadership_testkit_server_free(server);
    return tap_end();
}
